//! The newest terminal events.

use std::collections::BTreeMap;

use askama::Template;
use serde::{Deserialize, Serialize};

use super::Page;
use super::menu::{PageInfo, TERMINAL_EVENTS};
use crate::console::format::{self, Moment};
use crate::console::live::tail::TailRecord;
use crate::console::live::{LiveState, MAX_TERMINAL_EVENTS};
use crate::console::redact::Redactor;
use crate::console::state::AppState;
use crate::session::{EndReason, Timestamp};
use crate::wire::terminal::SessionEnded;
use crate::wire::time;

/// Limit on the rows of the page.
const MAX_ROWS: usize = 100;

/// The parameters of the page.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TerminalEventsParams {
    /// Only with this reason.
    #[serde(default)]
    reason: String,
}

#[derive(Template, Serialize)]
#[template(path = "console/terminal_events.html")]
pub struct TerminalEventsPage {
    kafka_error: Option<String>,
    /// Terminal events kept by reason.
    reasons: Vec<(&'static str, usize)>,
    /// Newest first.
    terminal_events: Vec<TerminalEventRow>,
    #[serde(skip)]
    reason: String,
}

#[derive(Debug, Serialize)]
pub struct TerminalEventRow {
    event_id: String,
    session_id: String,
    user_id: Option<String>,
    pub(super) reason: &'static str,
    pub(super) policy: String,
    generation: u64,
    pub(super) ended: Option<Moment>,
    /// From the start of the session to its end.
    pub(super) duration_millis: Option<i64>,
    /// From the last activity to the end.
    idle_millis: Option<i64>,
    /// From the end to its detection, including the allowed lateness.
    detection_delay_millis: Option<i64>,
    attributes: BTreeMap<String, String>,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Page for TerminalEventsPage {
    type Params = TerminalEventsParams;
    const INFO: PageInfo = TERMINAL_EVENTS;

    fn build(app: &AppState, state: &LiveState, now: Timestamp, params: &Self::Params) -> Self {
        let count = |reason: &str| {
            let all = state.terminal_events.iter();
            all.filter(|(_, ended)| ended.reason.as_str() == reason)
                .count()
        };
        let matching = state.terminal_events.iter().filter(|(_, ended)| {
            params.reason.is_empty() || ended.reason.as_str() == params.reason
        });
        // At its start, the console reads one partition after another.
        let mut matching: Vec<_> = matching.collect();
        matching.sort_by_key(|(record, _)| std::cmp::Reverse(record.timestamp));
        Self {
            kafka_error: state.kafka_error.clone(),
            reasons: EndReason::ALL
                .map(|reason| (reason.as_str(), count(reason.as_str())))
                .into(),
            terminal_events: matching
                .into_iter()
                .take(MAX_ROWS)
                .map(|(record, ended)| row(record, ended, &app.redactor, now))
                .collect(),
            reason: params.reason.clone(),
        }
    }
}

/// Formats a terminal event.
pub(super) fn row(
    record: &TailRecord,
    ended: &SessionEnded,
    redactor: &Redactor,
    now: Timestamp,
) -> TerminalEventRow {
    let end = time::parse(&ended.ended_at);
    let until_end = |from: &Option<String>| {
        let from = time::parse(from.as_deref()?)?;
        Some(end?.as_millis() - from.as_millis())
    };
    let detected = time::parse(&ended.detected_at);
    TerminalEventRow {
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
        duration_millis: until_end(&ended.started_at),
        idle_millis: until_end(&ended.last_activity),
        detection_delay_millis: detected
            .zip(end)
            .map(|(detected, end)| detected.as_millis() - end.as_millis()),
        attributes: redactor.attributes(&ended.attributes),
        topic: record.topic.clone(),
        partition: record.partition,
        offset: record.offset,
    }
}
