//! The two kinds of dead letters.

use clap::ValueEnum;

use crate::kafka::Topics;

/// The kind of source record, one for each dead-letter topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum DeadLetterKind {
    /// Terminal events whose actions failed.
    Endings,
    /// Session events that were rejected.
    Events,
}

impl DeadLetterKind {
    pub(crate) const ALL: [Self; 2] = [Self::Endings, Self::Events];

    pub(crate) fn dead_letter_topic(self, topics: &Topics) -> &str {
        match self {
            Self::Endings => &topics.expired_sessions_dlq,
            Self::Events => &topics.session_logs_dlq,
        }
    }

    pub(crate) fn source_topic(self, topics: &Topics) -> &str {
        match self {
            Self::Endings => &topics.expired_sessions,
            Self::Events => &topics.session_logs,
        }
    }

    pub(crate) fn of_topic(topic: &str, topics: &Topics) -> anyhow::Result<Self> {
        let mut kinds = Self::ALL.into_iter();
        let found = kinds.find(|kind| kind.dead_letter_topic(topics) == topic);
        found.ok_or_else(|| {
            let [one, other] = Self::ALL.map(|kind| kind.dead_letter_topic(topics));
            anyhow::anyhow!(
                "'{topic}' is not a dead-letter topic of this installation, which has {one} and \
                 {other}; check --topic-prefix"
            )
        })
    }

    /// What the source records are.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Endings => "terminal events",
            Self::Events => "session events",
        }
    }
}
