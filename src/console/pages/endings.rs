//! The newest terminal events.

use std::collections::BTreeMap;

use askama::Template;
use serde::{Deserialize, Serialize};

use super::View;
use crate::console::format::{self, Moment};
use crate::console::live::tail::TailRecord;
use crate::console::live::{MAX_ENDINGS, State};
use crate::console::redact::Redactor;
use crate::console::state::AppState;
use crate::session::{EndReason, Timestamp};
use crate::wire::terminal::SessionEnded;
use crate::wire::time;

/// How many are on the page.
const SHOWN: usize = 100;

/// Which of them.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Filter {
    /// Only those that ended for this reason.
    #[serde(default)]
    reason: String,
}

/// The newest terminal events.
#[derive(Template, Serialize)]
#[template(path = "console/endings.html")]
pub struct Endings {
    trouble: Option<String>,
    /// How many of those that are remembered ended for which reason.
    reasons: Vec<(&'static str, usize)>,
    /// The newest first.
    endings: Vec<Row>,
    #[serde(skip)]
    reason: String,
}

/// A terminal event.
#[derive(Debug, Serialize)]
pub struct Row {
    event_id: String,
    session_id: String,
    user_id: Option<String>,
    pub(super) reason: &'static str,
    pub(super) policy: String,
    generation: u64,
    pub(super) ended: Option<Moment>,
    /// From its start to its end.
    pub(super) lasted_millis: Option<i64>,
    /// From its last activity to its end.
    idle_millis: Option<i64>,
    /// From its end until it was noticed, the allowed lateness included.
    noticed_after_millis: Option<i64>,
    attributes: BTreeMap<String, String>,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl View for Endings {
    type Query = Filter;
    const TITLE: &'static str = "Endings";
    const PATH: &'static str = "/endings";

    fn build(app: &AppState, state: &State, now: Timestamp, filter: &Filter) -> Self {
        let with = |reason: &str| {
            let all = state.endings.iter();
            all.filter(|(_, ended)| ended.reason.as_str() == reason)
                .count()
        };
        let wanted = state.endings.iter().filter(|(_, ended)| {
            filter.reason.is_empty() || ended.reason.as_str() == filter.reason
        });
        // Partitions come one after the other when the console starts.
        let mut wanted: Vec<_> = wanted.collect();
        wanted.sort_by_key(|(record, _)| std::cmp::Reverse(record.timestamp));
        Self {
            trouble: state.trouble.clone(),
            reasons: EndReason::ALL
                .map(|reason| (reason.as_str(), with(reason.as_str())))
                .into(),
            endings: wanted
                .into_iter()
                .take(SHOWN)
                .map(|(record, ended)| row(record, ended, &app.redactor, now))
                .collect(),
            reason: filter.reason.clone(),
        }
    }
}

/// A terminal event as pages show it.
pub(super) fn row(
    record: &TailRecord,
    ended: &SessionEnded,
    redactor: &Redactor,
    now: Timestamp,
) -> Row {
    let end = time::parse(&ended.ended_at);
    let until_end = |from: &Option<String>| {
        let from = time::parse(from.as_deref()?)?;
        Some(end?.as_millis() - from.as_millis())
    };
    let noticed = time::parse(&ended.detected_at);
    Row {
        event_id: ended.event_id.to_string(),
        session_id: redactor.id(&ended.session_id),
        user_id: ended.user_id.as_ref().map(|user| {
            let literal = user.get();
            let text: Result<String, _> = serde_json::from_str(literal);
            redactor.id(&text.unwrap_or_else(|_| literal.to_owned()))
        }),
        reason: ended.reason.as_str(),
        policy: ended.policy.name.clone(),
        generation: ended.policy.generation,
        ended: Moment::parse(&ended.ended_at, now),
        lasted_millis: until_end(&ended.started_at),
        idle_millis: until_end(&ended.last_activity),
        noticed_after_millis: noticed
            .zip(end)
            .map(|(noticed, end)| noticed.as_millis() - end.as_millis()),
        attributes: redactor.attributes(&ended.attributes),
        topic: record.topic.clone(),
        partition: record.partition,
        offset: record.offset,
    }
}
