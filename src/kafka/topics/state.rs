//! The state of existing topics.

use std::collections::BTreeMap;

use rdkafka::admin::{ConfigResource, ConfigSource, OwnedResourceSpecifier};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};

/// An existing topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// The partitions, in order of their numbers.
    pub partitions: Vec<PartitionState>,
    /// The properties by name. `None` if the service does not support the request or the
    /// user lacks `DescribeConfigs`.
    pub configs: Option<BTreeMap<String, ConfigValue>>,
}

/// The brokers of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// `None` while the partition has no leader.
    pub leader: Option<i32>,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
}

/// The value of a topic's property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigValue {
    pub value: String,
    /// Whether it is set on the topic rather than on the brokers.
    pub is_override: bool,
}

/// The range of a partition's offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// The first offset that retention has not deleted.
    pub first: i64,
    /// The offset of the next record.
    pub end: i64,
}

/// The clock of a topic's record timestamps (`message.timestamp.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The brokers' clocks.
    LogAppendTime,
    /// The producers' clocks, which may show any time.
    CreateTime,
}

impl TopicState {
    /// The number of partitions.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).unwrap_or(i32::MAX)
    }

    /// The smallest number of replicas of a partition.
    #[must_use]
    pub fn replication(&self) -> usize {
        self.partitions
            .iter()
            .map(|partition| partition.replicas.len())
            .min()
            .unwrap_or_default()
    }

    /// The value of a property, if known.
    #[must_use]
    pub fn config(&self, key: &str) -> Option<&str> {
        Some(&self.configs.as_ref()?.get(key)?.value)
    }

    /// The clock of the record timestamps; if unknown, the less reliable one.
    #[must_use]
    pub fn timestamps(&self) -> TimestampType {
        match self.config("message.timestamp.type") {
            Some("LogAppendTime") => TimestampType::LogAppendTime,
            _ => TimestampType::CreateTime,
        }
    }

    /// Whether every partition has a leader.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.partitions
            .iter()
            .all(|partition| partition.leader.is_some())
    }
}

/// Metadata does not include the configuration.
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

/// The name and the properties of a topic.
pub(super) fn configs(resource: ConfigResource) -> Option<(String, BTreeMap<String, ConfigValue>)> {
    let OwnedResourceSpecifier::Topic(name) = resource.specifier else {
        return None;
    };
    let entries = resource.entries.into_iter().filter_map(|entry| {
        let is_override = entry.source == ConfigSource::DynamicTopic;
        let value = entry.value?;
        Some((entry.name, ConfigValue { value, is_override }))
    });
    Some((name, entries.collect()))
}

/// Existing topics by name.
pub type ExistingTopics = BTreeMap<String, TopicState>;
