//! `sundown topics describe`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::kafka::Topics;
use crate::kafka::topics::{OffsetRange, TopicAdmin, TopicState};
use crate::output::{self, OutputArgs, table};

#[derive(Serialize)]
struct TopicDescription {
    topic: String,
    replication: usize,
    /// Topic-level overrides; `null` if the broker does not return them.
    configs: Option<BTreeMap<String, String>>,
    partitions: Vec<PartitionDescription>,
}

#[derive(Serialize)]
struct PartitionDescription {
    partition: usize,
    leader: Option<i32>,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    first_offset: i64,
    end_offset: i64,
}

/// Prints the existing topics; notes the missing ones on stderr.
pub(super) async fn run(
    admin: &TopicAdmin,
    topics: &Topics,
    output: OutputArgs,
) -> anyhow::Result<()> {
    let names = topics.all();
    let existing = admin.existing(&names).await?;
    let mut described = Vec::new();
    for name in names {
        if let Some(state) = existing.get(name) {
            let offsets = admin.offsets(name, state.partition_count()).await?;
            described.push(describe(name, state, &offsets));
        } else {
            output::note(format_args!(
                "{name} does not exist; create it with: sundown topics create"
            ));
        }
    }
    output.print(described.as_slice(), tables)
}

fn describe(name: &str, state: &TopicState, offsets: &[OffsetRange]) -> TopicDescription {
    let configs = state.configs.as_ref().map(|configs| {
        let own = configs.iter().filter(|(_, config)| config.is_override);
        own.map(|(key, config)| (key.clone(), config.value.clone()))
            .collect()
    });
    let partitions = state.partitions.iter().zip(offsets).enumerate();
    let partitions = partitions.map(|(partition, (state, offsets))| PartitionDescription {
        partition,
        leader: state.leader,
        replicas: state.replicas.clone(),
        in_sync: state.in_sync.clone(),
        first_offset: offsets.first,
        end_offset: offsets.end,
    });
    TopicDescription {
        topic: name.to_owned(),
        replication: state.replication(),
        configs,
        partitions: partitions.collect(),
    }
}

fn tables(topics: &[TopicDescription]) -> String {
    let rows: Vec<_> = topics.iter().map(topic_row).collect();
    let topic_table = table(["TOPIC", "PARTITIONS", "REPLICAS", "CONFIG"], &rows);
    let rows: Vec<_> = topics
        .iter()
        .flat_map(|topic| {
            topic
                .partitions
                .iter()
                .map(|partition| partition_row(&topic.topic, partition))
        })
        .collect();
    let partition_table = table(
        [
            "TOPIC",
            "PARTITION",
            "LEADER",
            "REPLICAS",
            "IN SYNC",
            "FIRST",
            "END",
        ],
        &rows,
    );
    format!("{topic_table}\n\n{partition_table}")
}

fn topic_row(topic: &TopicDescription) -> [String; 4] {
    let configs = topic
        .configs
        .as_ref()
        .map_or("unknown".to_owned(), |configs| {
            let pairs: Vec<_> = configs
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            pairs.join(" ")
        });
    [
        topic.topic.clone(),
        topic.partitions.len().to_string(),
        topic.replication.to_string(),
        configs,
    ]
}

fn partition_row(topic: &str, partition: &PartitionDescription) -> [String; 7] {
    [
        topic.to_owned(),
        partition.partition.to_string(),
        partition
            .leader
            .map_or("none".to_owned(), |id| id.to_string()),
        brokers(&partition.replicas),
        brokers(&partition.in_sync),
        partition.first_offset.to_string(),
        partition.end_offset.to_string(),
    ]
}

fn brokers(ids: &[i32]) -> String {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    ids.join(",")
}
