//! Dead letters of both kinds: found, shown, redriven and discarded.

pub use crate::dead_letters::filter::FilterArgs;
pub use crate::dead_letters::letter::{LetterId, Summary};
pub use crate::dead_letters::redrive::Outcome;
use crate::dead_letters::redrive::Watched;
use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;

pub mod discard;
pub mod filter;
pub mod letter;
pub mod redrive;
pub mod retry;
pub mod scan;

/// Which of the two dead-letter topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// Terminal events that could not be acted on.
    Endings,
    /// Session events that could not be used.
    Events,
}

/// Which letters are to be dealt with.
#[derive(Args, Clone, Debug)]
pub struct SelectionArgs {
    /// These letters, as `list` names them.
    #[arg(value_name = "TOPIC/PARTITION/OFFSET")]
    pub letters: Vec<LetterId>,
    /// All letters that the filters let through. Needed where no letter is named.
    #[arg(long, conflicts_with = "letters")]
    pub all: bool,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Which of them.
    #[command(flatten)]
    pub filter: FilterArgs,
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

impl SelectionArgs {
    /// The letters named, by the topic that they are in.
    pub(crate) fn named(&self, topics: &Topics) -> anyhow::Result<BTreeSet<(Kind, LetterId)>> {
        let mut named = BTreeSet::new();
        for letter in &self.letters {
            named.insert((Kind::of(&letter.topic, topics)?, letter.clone()));
        }
        if named.is_empty() && !self.all {
            anyhow::bail!(
                "name the letters, as `sundown dlq list` does, or pass --all for all that the \
                 filters let through"
            );
        }
        Ok(named)
    }
}

/// What is to become of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// They are tried again.
    Retry,
    /// They are let go of.
    Discard,
}

/// Deals with the letters that are meant, or only finds them if it is a dry run. Blocks; what
/// it has not committed when it is interrupted is as it was.
///
/// # Errors
/// If the cluster cannot be reached or refuses, or the selection contradicts itself.
pub fn treat(
    treatment: Treatment,
    selection: &SelectionArgs,
    global: &GlobalArgs,
) -> anyhow::Result<Outcome> {
    match treatment {
        Treatment::Retry => retry::treat(selection, global, Watched::No),
        Treatment::Discard => discard::treat(selection, global, Watched::No),
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
