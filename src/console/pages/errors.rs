//! What the processes warn of: the latest lines of their logs.

use askama::Template;
use serde::Serialize;

use super::View;
use super::dashboard::Nothing;
use crate::console::format::Moment;
use crate::console::live::State;
use crate::console::state::AppState;
use crate::session::Timestamp;
use crate::telemetry::RecentError;

/// How many are on the page.
const SHOWN: usize = 200;

/// Warnings and errors.
#[derive(Template, Serialize)]
#[template(path = "console/errors.html")]
pub struct Errors {
    trouble: Option<String>,
    /// The newest first.
    errors: Vec<Row>,
}

/// A warning or an error.
#[derive(Debug, Serialize)]
pub struct Row {
    at: Option<Moment>,
    level: String,
    target: String,
    message: String,
    /// Whose logs say so: more than one where roles share a process.
    processes: Vec<String>,
}

impl View for Errors {
    type Query = Nothing;
    const TITLE: &'static str = "Errors";
    const PATH: &'static str = "/errors";

    fn build(_: &AppState, state: &State, now: Timestamp, _: &Nothing) -> Self {
        let mut all: Vec<(&RecentError, &str)> = Vec::new();
        for process in state.processes.iter() {
            let errors = process.report.errors.iter();
            all.extend(errors.map(|error| (error, process.report.id.as_str())));
        }
        all.sort_by(|left, right| right.0.at.cmp(&left.0.at));
        let mut errors: Vec<Row> = Vec::new();
        let mut last: Option<&RecentError> = None;
        for (error, process) in all {
            let same = last == Some(error);
            last = Some(error);
            if same && let Some(row) = errors.last_mut() {
                row.processes.push(process.to_owned());
            } else if errors.len() < SHOWN {
                errors.push(row(error, process, now));
            } else {
                break;
            }
        }
        Self {
            trouble: state.trouble.clone(),
            errors,
        }
    }
}

fn row(error: &RecentError, process: &str, now: Timestamp) -> Row {
    Row {
        at: Moment::parse(&error.at, now),
        level: error.level.clone(),
        target: error.target.clone(),
        message: error.message.clone(),
        processes: vec![process.to_owned()],
    }
}
