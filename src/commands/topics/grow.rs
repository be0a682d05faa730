//! `sundown topics grow`: adds partitions.

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use crate::kafka::Topics;
use crate::kafka::topics::{TopicAdmin, TopicState, require};
use crate::output::{OutputArgs, progress, table};

/// Flags of `sundown topics grow`.
#[derive(Args, Clone, Debug)]
pub struct GrowArgs {
    /// Partitions that the topics have afterwards.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    pub partitions: i32,

    #[command(flatten)]
    pub output: OutputArgs,
}

#[derive(Serialize)]
struct GrownTopic {
    topic: String,
    before: i32,
    partitions: i32,
}

pub(super) async fn run(
    admin: &TopicAdmin,
    topics: &Topics,
    args: &GrowArgs,
) -> anyhow::Result<()> {
    // Checkpoints first: a tracker restores a partition of session events from the same partition of
    // theirs.
    let names = [topics.checkpoint.as_str(), topics.session_logs.as_str()];
    let existing = require(admin, &names).await?;
    let counts = names.map(|name| {
        (
            name,
            existing.get(name).map_or(0, TopicState::partition_count),
        )
    });
    for (topic, count) in counts {
        if count > args.partitions {
            bail!(
                "{topic} has {count} partitions: Kafka cannot remove any; nothing has been changed. Pass --partitions {count} or more"
            );
        }
    }
    let mut grown = Vec::new();
    let bar = progress::bar(
        Some(counts.len() as u64),
        "{bar:40} {pos}/{len} topics {msg}  {elapsed}",
    );
    for (topic, before) in counts {
        bar.set_message(topic.to_owned());
        if before < args.partitions {
            admin.grow(topic, args.partitions).await?;
        }
        grown.push(GrownTopic {
            topic: topic.to_owned(),
            before,
            partitions: args.partitions,
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    args.output.print(grown.as_slice(), |grown| {
        let row = |one: &GrownTopic| {
            let (before, now) = (one.before.to_string(), one.partitions.to_string());
            [one.topic.clone(), before, now]
        };
        let rows: Vec<_> = grown.iter().map(row).collect();
        table(["TOPIC", "BEFORE", "PARTITIONS"], &rows)
    })
}
