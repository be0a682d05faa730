//! The dead letters that a command is about.

use std::collections::BTreeSet;

use clap::Args;

use super::filter::FilterArgs;
use super::kind::Kind;
use super::letter::LetterId;
use crate::kafka::Topics;

/// Which letters are to be dealt with.
#[derive(Args, Clone, Debug)]
pub struct SelectionArgs {
    /// Letters to select, by the ids that `list` shows.
    #[arg(value_name = "TOPIC/PARTITION/OFFSET")]
    pub letters: Vec<LetterId>,
    /// Select all letters that match the filters. Required if no letter is named.
    #[arg(long, conflicts_with = "letters")]
    pub all: bool,
    /// List the selected letters without changing anything.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub filter: FilterArgs,
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
