//! A group's committed offsets and the offsets of its topic, in three requests for all
//! partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::list_offsets::{list_offsets, partitions};
use super::reader_config::reader_config;

/// Bounds one request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The offsets of a partition and of a group in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionOffsets {
    pub partition: i32,
    /// The first offset that retention has not deleted.
    pub beginning: i64,
    /// The offset that the group resumes from; `None` if it has committed none.
    pub committed: Option<i64>,
    /// The last stable offset.
    pub end: i64,
}

impl PartitionOffsets {
    /// Uncommitted offsets of a group that starts at the beginning, transaction markers
    /// included.
    #[must_use]
    pub fn uncommitted(self) -> i64 {
        (self.end - self.committed.unwrap_or(self.beginning)).max(0)
    }

    /// Uncommitted offsets, transaction markers included; `None` if the group has committed
    /// none.
    #[must_use]
    pub fn lag(self) -> Option<i64> {
        Some((self.end - self.committed?).max(0))
    }
}

/// Fetches the offsets of a group and of the topic that it reads, without joining it.
pub struct GroupOffsets {
    /// Fetches the group's offsets. At `read_committed`, the request would wait for offsets
    /// that a transaction is about to commit.
    group: BaseConsumer,
    /// Lists last stable offsets.
    ends: BaseConsumer,
    topic: String,
}

impl GroupOffsets {
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn new(config: &ClientConfig, group: &str, topic: &str) -> KafkaResult<Self> {
        let mut config = reader_config(config, group);
        let ends = config.create()?;
        config.set("isolation.level", "read_uncommitted");
        Ok(Self {
            group: config.create()?,
            ends,
            topic: topic.to_owned(),
        })
    }

    /// The offsets of each partition, in order of their numbers.
    ///
    /// # Errors
    /// If the brokers do not respond in time, or the topic does not exist.
    pub fn fetch(&self) -> KafkaResult<Vec<PartitionOffsets>> {
        let partitions = partitions(self.ends.client(), &self.topic, REQUEST_TIMEOUT)?;
        let mut request = TopicPartitionList::new();
        for &partition in &partitions {
            request.add_partition(&self.topic, partition);
        }
        let committed = offsets(&self.group.committed_offsets(request, REQUEST_TIMEOUT)?)?;
        // Ends are listed last: a commit in between must not make the lag negative.
        let list_offsets =
            |edge| list_offsets(&self.ends, &self.topic, &partitions, edge, REQUEST_TIMEOUT);
        let beginnings = list_offsets(Offset::Beginning)?;
        let ends = list_offsets(Offset::End)?;
        let known = |partition| {
            Some(PartitionOffsets {
                partition,
                beginning: *beginnings.get(&partition)?,
                committed: committed.get(&partition).copied(),
                end: *ends.get(&partition)?,
            })
        };
        Ok(partitions.into_iter().filter_map(known).collect())
    }
}

impl GroupOffsets {
    /// Commits offsets for the group, by partition. Brokers refuse this while the group has
    /// members.
    ///
    /// # Errors
    /// If the brokers refuse it or do not respond.
    pub fn commit(&self, offsets: &BTreeMap<i32, i64>) -> KafkaResult<()> {
        let mut request = TopicPartitionList::new();
        for (&partition, &offset) in offsets {
            request.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        }
        self.group.commit(&request, CommitMode::Sync)
    }
}

fn offsets(response: &TopicPartitionList) -> KafkaResult<BTreeMap<i32, i64>> {
    let mut offsets = BTreeMap::new();
    for element in response.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(element.partition(), offset);
        }
    }
    Ok(offsets)
}
