//! What a group has committed, and where partitions begin and end: three questions for all
//! partitions together.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{Range, Subject};

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks for one group.
pub(super) struct Offsets {
    /// Speaks for the group, without joining it. Not a reader of committed records: its
    /// question would wait for offsets that a transaction is about to commit.
    group: BaseConsumer,
    /// Sees the last stable offset as the end.
    ends: BaseConsumer,
    topic: String,
}

impl Offsets {
    pub(super) fn new(config: &ClientConfig, subject: &Subject) -> KafkaResult<Self> {
        let mut config = config.clone();
        config
            .set("group.id", &subject.group)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_uncommitted");
        let group = config.create()?;
        config.set("isolation.level", "read_committed");
        Ok(Self {
            group,
            ends: config.create()?,
            topic: subject.topic.clone(),
        })
    }

    /// What each partition has before it, in order.
    pub(super) fn ask(&self) -> KafkaResult<Vec<Range>> {
        let partitions = self.partitions()?;
        let mut question = TopicPartitionList::new();
        for &partition in &partitions {
            question.add_partition(&self.topic, partition);
        }
        let committed = offsets(&self.group.committed_offsets(question, TIMEOUT)?)?;
        // The ends last: what is committed meanwhile must not make the lag look smaller
        // than nothing.
        let beginnings = self.edges(&partitions, Offset::Beginning)?;
        let ends = self.edges(&partitions, Offset::End)?;
        let range = |partition| {
            let beginning = *beginnings.get(&partition)?;
            let committed = committed.get(&partition).copied();
            Some(Range {
                partition,
                position: committed.unwrap_or(beginning).max(beginning),
                end: *ends.get(&partition)?,
            })
        };
        Ok(partitions.into_iter().filter_map(range).collect())
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

    /// Where all partitions begin or end: as timestamps, -2 and -1 ask for that
    /// (ListOffsets, KIP-79).
    fn edges(&self, partitions: &[i32], edge: Offset) -> KafkaResult<BTreeMap<i32, i64>> {
        let mut question = TopicPartitionList::new();
        for &partition in partitions {
            question.add_partition_offset(&self.topic, partition, edge)?;
        }
        offsets(&self.ends.offsets_for_times(question, TIMEOUT)?)
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
