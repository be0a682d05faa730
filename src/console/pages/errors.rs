//! The latest warnings and errors in the logs of the processes.

use askama::Template;
use serde::Serialize;

use super::menu::{ERRORS, PageInfo};
use super::{NoParams, Page};
use crate::console::format::Moment;
use crate::console::live::LiveState;
use crate::console::state::AppState;
use crate::session::Timestamp;
use crate::telemetry::RecentError;

/// Limit on the rows of the page.
const MAX_ROWS: usize = 200;

#[derive(Template, Serialize)]
#[template(path = "console/errors.html")]
pub struct ErrorsPage {
    kafka_error: Option<String>,
    /// Newest first.
    errors: Vec<ErrorRow>,
}

#[derive(Debug, Serialize)]
pub struct ErrorRow {
    at: Option<Moment>,
    level: String,
    target: String,
    message: String,
    /// Processes with this entry: several if roles share an operating system process.
    processes: Vec<String>,
}

impl Page for ErrorsPage {
    type Params = NoParams;
    const INFO: PageInfo = ERRORS;

    fn build(_: &AppState, state: &LiveState, now: Timestamp, _: &NoParams) -> Self {
        let mut all: Vec<(&RecentError, &str)> = Vec::new();
        for process in state.processes.iter() {
            let errors = process.report.errors.iter();
            all.extend(errors.map(|error| (error, process.report.id.as_str())));
        }
        all.sort_by(|left, right| right.0.at.cmp(&left.0.at));
        let mut errors: Vec<ErrorRow> = Vec::new();
        let mut last: Option<&RecentError> = None;
        for (error, process) in all {
            let same = last == Some(error);
            last = Some(error);
            if same && let Some(row) = errors.last_mut() {
                row.processes.push(process.to_owned());
            } else if errors.len() < MAX_ROWS {
                errors.push(row(error, process, now));
            } else {
                break;
            }
        }
        Self {
            kafka_error: state.kafka_error.clone(),
            errors,
        }
    }
}

fn row(error: &RecentError, process: &str, now: Timestamp) -> ErrorRow {
    ErrorRow {
        at: Moment::parse(&error.at, now),
        level: error.level.clone(),
        target: error.target.clone(),
        message: error.message.clone(),
        processes: vec![process.to_owned()],
    }
}
