//! What a group has committed, and where partitions begin and end: three questions for all
//! partitions together.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::list_offsets::list_offsets;
use super::reader_config::reader_config;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a group has of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// The partition.
    pub partition: i32,
    /// The first offset that is still there.
    pub beginning: i64,
    /// Where the group will go on; none if it has committed nothing.
    pub committed: Option<i64>,
    /// The last stable offset.
    pub end: i64,
}

impl PartitionOffsets {
    /// Offsets that a group which begins at the beginning has not finished. Transaction
    /// markers have offsets too.
    #[must_use]
    pub fn unfinished(self) -> i64 {
        (self.end - self.committed.unwrap_or(self.beginning)).max(0)
    }

    /// Offsets that the group has not finished; none if it has committed nothing.
    /// Transaction markers have offsets too.
    #[must_use]
    pub fn lag(self) -> Option<i64> {
        Some((self.end - self.committed?).max(0))
    }
}

/// Asks for one group and the topic that it reads.
pub struct GroupOffsets {
    /// Speaks for the group, without joining it. Not a reader of committed records: its
    /// question would wait for offsets that a transaction is about to commit.
    group: BaseConsumer,
    /// Sees the last stable offset as the end.
    ends: BaseConsumer,
    topic: String,
}

impl GroupOffsets {
    /// Does not join the group.
    ///
    /// # Errors
    /// If the client's configuration is not one that librdkafka accepts.
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

    /// What the group has of each partition, in order.
    ///
    /// # Errors
    /// If the brokers do not answer in time, or the topic is missing.
    pub fn ask(&self) -> KafkaResult<Vec<PartitionOffsets>> {
        let partitions = self.partitions()?;
        let mut question = TopicPartitionList::new();
        for &partition in &partitions {
            question.add_partition(&self.topic, partition);
        }
        let committed = offsets(&self.group.committed_offsets(question, TIMEOUT)?)?;
        // The ends last: what is committed meanwhile must not make the lag look smaller
        // than nothing.
        let list_offsets = |edge| list_offsets(&self.ends, &self.topic, &partitions, edge, TIMEOUT);
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

    fn partitions(&self) -> KafkaResult<Vec<i32>> {
        let metadata = self.ends.fetch_metadata(Some(&self.topic), TIMEOUT)?;
        let unknown = KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition);
        let topic = metadata.topics().first().ok_or(unknown)?;
        if let Some(error) = topic.error() {
            return Err(KafkaError::MetadataFetch(error.into()));
        }
        Ok(topic
            .partitions()
            .iter()
            .map(|partition| partition.id())
            .collect())
    }
}

fn offsets(answer: &TopicPartitionList) -> KafkaResult<BTreeMap<i32, i64>> {
    let mut offsets = BTreeMap::new();
    for element in answer.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(element.partition(), offset);
        }
    }
    Ok(offsets)
}
