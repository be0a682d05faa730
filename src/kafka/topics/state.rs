//! What a topic is like.

use std::collections::BTreeMap;

use rdkafka::admin::{ConfigResource, ConfigSource, OwnedResourceSpecifier};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};

/// A topic that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// Its partitions, in order.
    pub partitions: Vec<PartitionState>,
    /// Its configuration by Kafka's names. `None` if the broker does not tell: it knows
    /// no such request, or the user lacks the right `DescribeConfigs`.
    pub configs: Option<BTreeMap<String, ConfigValue>>,
}

/// Where a partition is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The broker that takes writes; `None` while there is none.
    pub leader: Option<i32>,
    /// The brokers that keep it.
    pub replicas: Vec<i32>,
    /// Those of them that have everything.
    pub in_sync: Vec<i32>,
}

/// The value of a topic's property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigValue {
    /// The value in force.
    pub value: String,
    /// Whether it was set for this topic; or else it is the brokers' default.
    pub own: bool,
}

/// The records that a partition has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// The offset of the first record that is still there.
    pub first: i64,
    /// The offset that the next record will get.
    pub end: i64,
}

/// Whose clock a topic's record timestamps show (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The brokers'.
    LogAppendTime,
    /// That of whoever wrote the record: may be anything.
    CreateTime,
}

impl TopicState {
    /// How many partitions it has.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// On how many brokers each partition is kept.
    #[must_use]
    pub fn replication(&self) -> usize {
        self.partitions
            .iter()
            .map(|partition| partition.replicas.len())
            .min()
            .unwrap_or_default()
    }

    /// The value of a property, if the broker tells.
    #[must_use]
    pub fn config(&self, key: &str) -> Option<&str> {
        Some(&self.configs.as_ref()?.get(key)?.value)
    }

    /// Whose clock its timestamps show; where the broker does not tell, the one that
    /// promises less.
    #[must_use]
    pub fn timestamps(&self) -> TimestampType {
        match self.config("message.timestamp.type") {
            Some("LogAppendTime") => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        }
    }

    /// Whether every partition can be written to.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.partitions
            .iter()
            .all(|partition| partition.leader.is_some())
    }
}

/// The topic as metadata shows it: without its configuration.
impl From<&MetadataTopic> for TopicState {
    fn from(topic: &MetadataTopic) -> Self {
        let mut partitions: Vec<_> = topic.partitions().iter().collect();
        partitions.sort_unstable_by_key(|partition| partition.id());
        Self {
            partitions: partitions.into_iter().map(PartitionState::from).collect(),
            configs: None,
        }
    }
}

impl From<&MetadataPartition> for PartitionState {
    fn from(partition: &MetadataPartition) -> Self {
        Self {
            leader: Some(partition.leader()).filter(|leader| *leader >= 0),
            replicas: partition.replicas().to_vec(),
            in_sync: partition.isr().to_vec(),
        }
    }
}

/// A topic's name and configuration.
pub(super) fn configs(resource: ConfigResource) -> Option<(String, BTreeMap<String, ConfigValue>)> {
    let OwnedResourceSpecifier::Topic(name) = resource.specifier else {
        return None;
    };
    let entries = resource.entries.into_iter().filter_map(|entry| {
        let own = entry.source == ConfigSource::DynamicTopic;
        let value = entry.value?;
        Some((entry.name, ConfigValue { value, own }))
    });
    Some((name, entries.collect()))
}

/// The topics that exist, by name.
pub type ExistingTopics = BTreeMap<String, TopicState>;
