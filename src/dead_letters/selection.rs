//! The dead letters that a command processes.

use std::collections::BTreeSet;

use clap::Args;

use super::filter::FilterArgs;
use super::kind::DeadLetterKind;
use super::letter::DeadLetterId;
use crate::kafka::Topics;

/// Flags that select dead letters to process.
#[derive(Args, Clone, Debug)]
pub struct SelectionArgs {
    /// Letters to select, by the ids that `list` shows.
    #[arg(value_name = "TOPIC/PARTITION/OFFSET")]
    pub letters: Vec<DeadLetterId>,
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
    /// The named letters and their kinds.
    pub(crate) fn named(
        &self,
        topics: &Topics,
    ) -> anyhow::Result<BTreeSet<(DeadLetterKind, DeadLetterId)>> {
        let mut named = BTreeSet::new();
        for letter in &self.letters {
            named.insert((
                DeadLetterKind::of_topic(&letter.topic, topics)?,
                letter.clone(),
            ));
        }
        if named.is_empty() && !self.all {
            anyhow::bail!(
                "no letters selected; pass ids from `sundown dlq list`, or --all for all letters \
                 that match the filters"
            );
        }
        Ok(named)
    }
}
