//! The two kinds of dead letters.

use clap::ValueEnum;

use crate::kafka::Topics;

/// Which of the two dead-letter topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// Terminal events whose actions failed.
    Endings,
    /// Session events that were rejected.
    Events,
}

impl Kind {
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

    pub(crate) fn of(topic: &str, topics: &Topics) -> anyhow::Result<Self> {
        let mut kinds = Self::ALL.into_iter();
        let found = kinds.find(|kind| kind.dead_letter_topic(topics) == topic);
        found.ok_or_else(|| {
            let [one, other] = Self::ALL.map(|kind| kind.dead_letter_topic(topics));
            anyhow::anyhow!(
                "'{topic}' is no dead-letter topic of this installation; there are {one} and \
                 {other} (check --topic-prefix)"
            )
        })
    }
}

impl Kind {
    /// What its letters are called.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Endings => "terminal events",
            Self::Events => "session events",
        }
    }
}
