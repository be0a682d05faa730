//! Records that could not be used, and terminal events that could not be acted on.

pub mod redrive;

use std::collections::BTreeMap;

use askama::Template;
use serde::{Deserialize, Serialize};

use super::View;
use crate::console::explorer::decode::ShownRecord;
use crate::console::format;
use crate::console::live::tail::TailRecord;
use crate::console::live::{MAX_LETTERS, State};
use crate::console::state::AppState;
use crate::session::Timestamp;
use crate::wire::dead_letter;

/// How many are on the page.
const SHOWN: usize = 50;

/// Which of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Only those of this topic.
    topic: String,
    /// Only those with this reason.
    reason: String,
    /// What has just been done: `redrive` or `discard`.
    done: String,
    /// To how many.
    processed: usize,
    /// The number of letters that could not be processed.
    skipped: usize,
}

/// Dead letters.
#[derive(Template, Serialize)]
#[template(path = "console/dead_letters.html")]
pub struct DeadLetters {
    trouble: Option<String>,
    /// How many are remembered of each topic.
    topics: Vec<(String, usize)>,
    /// How many are remembered of each reason.
    reasons: BTreeMap<String, usize>,
    /// The newest first.
    letters: Vec<Letter>,
    #[serde(skip)]
    filter: Filter,
    #[serde(skip)]
    csrf: Option<String>,
    #[serde(skip)]
    can_log_in: bool,
}

/// A dead letter.
#[derive(Debug, Serialize)]
pub struct Letter {
    /// As `sundown dlq` names it.
    id: String,
    reason: String,
    /// What is wrong, for people; empty while ids are redacted, as it may name some.
    error: String,
    source: String,
    attempts: String,
    /// Actions that have not run; terminal events only.
    pending_actions: String,
    record: ShownRecord,
}

impl View for DeadLetters {
    type Query = Filter;
    const TITLE: &'static str = "Dead letters";
    const PATH: &'static str = "/dead-letters";

    fn build(app: &AppState, state: &State, now: Timestamp, filter: &Filter) -> Self {
        let topics = [
            &app.topics.session_logs_dlq,
            &app.topics.expired_sessions_dlq,
        ];
        let of = |topic: &str| {
            let letters = state.letters.iter();
            letters.filter(|letter| letter.topic == topic).count()
        };
        let mut reasons = BTreeMap::new();
        for letter in &state.letters {
            *reasons.entry(reason(letter).to_owned()).or_default() += 1;
        }
        let wanted = state.letters.iter().filter(|letter| {
            (filter.topic.is_empty() || letter.topic == filter.topic)
                && (filter.reason.is_empty() || reason(letter) == filter.reason)
        });
        Self {
            trouble: state.trouble.clone(),
            topics: topics.map(|topic| (topic.clone(), of(topic))).into(),
            reasons,
            letters: wanted
                .take(SHOWN)
                .map(|record| letter(record, app, now))
                .collect(),
            filter: filter.clone(),
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

impl DeadLetters {
    /// The page with one part of the filter replaced.
    fn link(&self, topic: &str, reason: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("topic", topic), ("reason", reason)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        let query = query.finish();
        if query.is_empty() {
            Self::PATH.to_owned()
        } else {
            format!("{}?{query}", Self::PATH)
        }
    }
}

/// As the last of its headers says: a record may have had one before it died.
fn reason(letter: &TailRecord) -> &str {
    let reason = letter.last_header(dead_letter::REASON);
    reason.unwrap_or("unknown")
}

fn letter(record: &TailRecord, app: &AppState, now: Timestamp) -> Letter {
    let header = |name| record.last_header(name).unwrap_or_default().to_owned();
    Letter {
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
