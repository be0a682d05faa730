//! Dead letters: rejected session events, and terminal events whose actions failed.

pub mod disposition;

use std::collections::BTreeMap;

use askama::Template;
use serde::{Deserialize, Serialize};

use super::Page;
use super::menu::{DEAD_LETTERS, PageInfo};
use crate::console::explorer::decode::ShownRecord;
use crate::console::format;
use crate::console::live::tail::TailRecord;
use crate::console::live::{LiveState, MAX_DEAD_LETTERS};
use crate::console::state::AppState;
use crate::session::Timestamp;
use crate::wire::dead_letter;

/// Limit on the dead letters of the page.
const MAX_ROWS: usize = 50;

/// The parameters of the page.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeadLettersParams {
    /// Only of this topic.
    topic: String,
    /// Only with this reason.
    reason: String,
    /// The operation just completed: `redrive` or `discard`.
    done: String,
    /// Dead letters that it processed.
    processed: usize,
    /// Dead letters that it skipped.
    skipped: usize,
}

#[derive(Template, Serialize)]
#[template(path = "console/dead_letters.html")]
pub struct DeadLettersPage {
    kafka_error: Option<String>,
    /// Dead letters kept by topic.
    topics: Vec<(String, usize)>,
    /// Dead letters kept by reason.
    reasons: BTreeMap<String, usize>,
    /// Newest first.
    dead_letters: Vec<DeadLetterRow>,
    #[serde(skip)]
    params: DeadLettersParams,
    #[serde(skip)]
    csrf: Option<String>,
    #[serde(skip)]
    can_log_in: bool,
}

#[derive(Debug, Serialize)]
pub struct DeadLetterRow {
    /// `TOPIC/PARTITION/OFFSET`, as for `sundown dlq`.
    id: String,
    reason: String,
    /// Error message; empty while ids are redacted, because it may contain some.
    error: String,
    source: String,
    attempts: String,
    /// Actions that have not succeeded, of terminal events only.
    pending_actions: String,
    record: ShownRecord,
}

impl Page for DeadLettersPage {
    type Params = DeadLettersParams;
    const INFO: PageInfo = DEAD_LETTERS;

    fn build(app: &AppState, state: &LiveState, now: Timestamp, params: &Self::Params) -> Self {
        let topics = [
            &app.topics.session_logs_dlq,
            &app.topics.expired_sessions_dlq,
        ];
        let count = |topic: &str| {
            let dead_letters = state.dead_letters.iter();
            dead_letters.filter(|one| one.topic == topic).count()
        };
        let mut reasons = BTreeMap::new();
        for record in &state.dead_letters {
            *reasons.entry(reason(record).to_owned()).or_default() += 1;
        }
        let matching = state.dead_letters.iter().filter(|record| {
            (params.topic.is_empty() || record.topic == params.topic)
                && (params.reason.is_empty() || reason(record) == params.reason)
        });
        Self {
            kafka_error: state.kafka_error.clone(),
            topics: topics.map(|topic| (topic.clone(), count(topic))).into(),
            reasons,
            dead_letters: matching
                .take(MAX_ROWS)
                .map(|record| row(record, app, now))
                .collect(),
            params: params.clone(),
            csrf: None,
            can_log_in: app.security.logins.is_some(),
        }
    }

    fn with_forms(self, csrf: Option<&str>) -> Self {
        Self {
            csrf: csrf.map(str::to_owned),
            ..self
        }
    }
}

impl DeadLettersPage {
    /// The path of the page with these filters.
    fn link(&self, topic: &str, reason: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("topic", topic), ("reason", reason)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        let query = query.finish();
        if query.is_empty() {
            Self::INFO.path.to_owned()
        } else {
            format!("{}?{query}", Self::INFO.path)
        }
    }
}

/// The reason in the last header of that name. A redriven record may have earlier ones.
fn reason(letter: &TailRecord) -> &str {
    let reason = letter.last_header(dead_letter::REASON);
    reason.unwrap_or("unknown")
}

fn row(record: &TailRecord, app: &AppState, now: Timestamp) -> DeadLetterRow {
    let header = |name| record.last_header(name).unwrap_or_default().to_owned();
    DeadLetterRow {
        id: format!("{}/{}/{}", record.topic, record.partition, record.offset),
        reason: reason(record).to_owned(),
        error: if app.redactor.is_on() {
            String::new()
        } else {
            header(dead_letter::ERROR)
        },
        source: format!(
            "{} {}:{}",
            header(dead_letter::SOURCE_TOPIC),
            header(dead_letter::SOURCE_PARTITION),
            header(dead_letter::SOURCE_OFFSET)
        ),
        attempts: header(dead_letter::ATTEMPTS),
        pending_actions: header(dead_letter::PENDING_ACTIONS),
        record: ShownRecord::new(record, &app.topics, &app.redactor, now),
    }
}
