//! Records that could not be used, and terminal events that could not be acted on.

use askama::Template;
use serde::{Deserialize, Serialize};

use super::View;
use crate::console::Shared;
use crate::console::explorer::decode::ShownRecord;
use crate::console::format;
use crate::console::live::{MAX_LETTERS, State};
use crate::session::Timestamp;
use crate::wire::dead_letter;

/// How many are on the page.
const SHOWN: usize = 50;

/// Which of them.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Filter {
    /// Only those of this topic.
    #[serde(default)]
    topic: String,
}

/// Dead letters.
#[derive(Template, Serialize)]
#[template(path = "console/dead_letters.html")]
pub struct DeadLetters {
    trouble: Option<String>,
    /// How many are remembered of each topic.
    topics: Vec<(String, usize)>,
    /// The newest first.
    letters: Vec<Letter>,
    #[serde(skip)]
    topic: String,
}

/// A dead letter.
#[derive(Debug, Serialize)]
pub struct Letter {
    reason: String,
    /// What is wrong, for people; empty while ids are redacted, as it may name some.
    error: String,
    source: String,
    attempts: String,
    /// Actions still undone; terminal events only.
    undone: String,
    record: ShownRecord,
}

impl View for DeadLetters {
    type Query = Filter;
    const TITLE: &'static str = "Dead letters";
    const PATH: &'static str = "/dead-letters";

    fn build(app: &Shared, state: &State, now: Timestamp, filter: &Filter) -> Self {
        let topics = [
            &app.topics.session_logs_dlq,
            &app.topics.expired_sessions_dlq,
        ];
        let of = |topic: &str| {
            let letters = state.letters.iter();
            letters.filter(|letter| letter.topic == topic).count()
        };
        let wanted = state.letters.iter();
        let wanted = wanted.filter(|one| filter.topic.is_empty() || one.topic == filter.topic);
        let letter = |record| {
            let shown = ShownRecord::new(record, &app.topics, &app.redactor, now);
            let header = |name| record.header(name).unwrap_or_default().to_owned();
            Letter {
                reason: header(dead_letter::REASON),
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
                undone: header(dead_letter::UNDONE),
                record: shown,
            }
        };
        Self {
            trouble: state.trouble.clone(),
            topics: topics.map(|topic| (topic.clone(), of(topic))).into(),
            letters: wanted.take(SHOWN).map(letter).collect(),
            topic: filter.topic.clone(),
        }
    }
}
