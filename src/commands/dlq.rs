//! `sundown dlq`: lists dead letters, shows one, tries them again, or lets go of them.
//!
//! Kafka deletes nothing from the middle of a topic. So whoever deals with a letter writes a
//! *marker* behind it, into the same partition: a record without a value whose header
//! `sundown-dlq-settled` names the letter's offset. A letter with a marker is no longer
//! listed. A letter that is tried again and its marker are written in one transaction: an
//! interruption leaves either both or neither, and nothing is tried twice. Retention
//! removes letters before their markers.

mod discard;
mod list;
mod retry;
mod show;

use std::collections::BTreeSet;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::GlobalArgs;
pub use crate::dead_letters::filter::FilterArgs;
pub use crate::dead_letters::letter::{LetterId, Summary};
pub use crate::dead_letters::redrive::Outcome;
use crate::dead_letters::redrive::Watched;
use crate::kafka::Topics;
use crate::output::OutputArgs;

/// What to do with dead letters.
#[derive(Subcommand, Debug)]
pub enum DlqCommand {
    /// List dead letters, oldest first.
    List(ListArgs),
    /// Show a dead letter: all of it.
    Show(ShowArgs),
    /// Try dead letters again: terminal events with the actions that are undone, session
    /// events from the start.
    ///
    /// Can be interrupted at any time, and be called again: no letter is tried twice.
    Retry(RetryArgs),
    /// Let go of dead letters: they are no longer listed, and retention deletes them.
    Discard(DiscardArgs),
}

/// Which of the two dead-letter topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// Terminal events that could not be acted on.
    Endings,
    /// Session events that could not be used.
    Events,
}

/// What `list` takes.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// Which letters.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// In which form to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What `show` takes.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// Which letter, as `list` names it.
    #[arg(value_name = "TOPIC/PARTITION/OFFSET")]
    pub letter: LetterId,
    /// In which form to print the result.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What `retry` takes.
#[derive(Args, Clone, Debug)]
pub struct RetryArgs {
    /// Which letters.
    #[command(flatten)]
    pub selection: SelectionArgs,
}

/// What `discard` takes.
#[derive(Args, Clone, Debug)]
pub struct DiscardArgs {
    /// Which letters.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Yes, let go of them.
    #[arg(short, long, env = "SUNDOWN_YES")]
    pub yes: bool,
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

/// Runs `sundown dlq`.
///
/// # Errors
/// If the cluster cannot be reached or refuses, or the arguments contradict each other.
pub fn run(command: &DlqCommand, global: &GlobalArgs) -> anyhow::Result<()> {
    match command {
        DlqCommand::List(args) => list::run(args, global),
        DlqCommand::Show(args) => show::run(args, global),
        DlqCommand::Retry(args) => retry::run(args, global),
        DlqCommand::Discard(args) => discard::run(args, global),
    }
}
