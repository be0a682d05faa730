//! Commits batches with offsets and watermarks.

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::sync::Arc;

use super::batch::IngestBatch;
use crate::kafka::Topics;
use crate::kafka::group::GroupConsumer;
use crate::kafka::transaction::TransactionalWriter;
use crate::kafka::transaction::commit_error::CommitError;
use crate::kafka::transaction::delivery::Delivery;
use crate::kafka::transaction::record::ProducerRecord;
use crate::kafka::upstream;
use crate::wire::watermark::WatermarkRecord;

/// Returns the key of the statement about a partition of the topic that `group` reads.
#[must_use]
pub fn watermark_key(group: &str, partition: i32) -> String {
    format!("ingest/{group}/{partition}")
}

/// Writes the batches of one topic.
pub struct IngestCommitter {
    writer: TransactionalWriter,
    topic: String,
    topics: Topics,
    group: String,
}

impl IngestCommitter {
    /// Creates a committer for the member `consumer` of `group`. No other process may use
    /// `transactional_id`.
    ///
    /// # Errors
    /// If the producer cannot be created, or cannot take over its transactional id.
    pub fn new(
        producer: ClientConfig,
        delivery: Delivery,
        (group, transactional_id): (&str, &str),
        (topic, topics): (&str, Topics),
        consumer: Arc<GroupConsumer>,
    ) -> Result<Self, CommitError> {
        Ok(Self {
            writer: TransactionalWriter::new(
                producer,
                delivery,
                transactional_id,
                &topics.session_logs_dlq,
                consumer,
            )?,
            topic: topic.to_owned(),
            topics,
            group: group.to_owned(),
        })
    }

    /// Returns whether the same batch may be committed again after `error` of the last commit.
    #[must_use]
    pub fn may_retry(&self, error: &CommitError) -> bool {
        self.writer.may_retry(error)
    }

    /// Writes a batch and its watermarks, and commits the positions.
    ///
    /// # Errors
    /// [`CommitError`]; then none of the batch counts.
    pub fn commit(
        &mut self,
        batch: &IngestBatch,
        watermarks: &[(i32, WatermarkRecord)],
        positions: &[(i32, i64)],
        group: &ConsumerGroupMetadata,
    ) -> Result<(), CommitError> {
        let mut offsets = TopicPartitionList::new();
        for &(partition, position) in positions {
            let added =
                offsets.add_partition_offset(&self.topic, partition, Offset::Offset(position));
            added.map_err(|source| CommitError::Kafka {
                step: "set the offset",
                source,
            })?;
        }
        let (topic, topics, source_group) = (&self.topic, &self.topics, &self.group);
        self.writer.commit(
            &offsets,
            group,
            |max_dead_letter, send| batch.write(topic, topics, max_dead_letter, send),
            |send| {
                watermarks.iter().try_for_each(|(partition, record)| {
                    send(ProducerRecord {
                        topic: &topics.watermarks,
                        partition: Some(upstream::PARTITION),
                        key: Some(watermark_key(source_group, *partition).as_bytes()),
                        value: Some(&record.encode()),
                        headers: None,
                        timestamp: None,
                    })
                })
            },
        )
    }
}
