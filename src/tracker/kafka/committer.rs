//! Writes batches and source offsets to Kafka.

use std::sync::Arc;

use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::kafka::Topics;
use crate::kafka::group::GroupConsumer;
use crate::kafka::transaction::TransactionalWriter;
use crate::kafka::transaction::commit_error::{CommitError, at};
use crate::kafka::transaction::delivery::Delivery;
use crate::tracker::engine::Batch;
use crate::tracker::outbox::{self, EncodeOptions, OutputCounts};

/// Writes batches.
pub struct Committer {
    writer: TransactionalWriter,
    topics: Topics,
    /// The key of this process's watermark record.
    process: Vec<u8>,
}

impl Committer {
    /// Creates a committer for the group member `consumer`. No other process may use
    /// `transactional_id`.
    ///
    /// # Errors
    /// If the producer cannot be created, or cannot take over its transactional id.
    pub fn new(
        config: ClientConfig,
        delivery: Delivery,
        transactional_id: &str,
        topics: Topics,
        process: &str,
        consumer: Arc<GroupConsumer>,
    ) -> Result<Self, CommitError> {
        Ok(Self {
            writer: TransactionalWriter::new(
                config,
                delivery,
                transactional_id,
                &topics.session_logs_dlq,
                consumer,
            )?,
            topics,
            process: process.as_bytes().to_vec(),
        })
    }

    /// Writes `batch` and commits its source offsets for the member in `group`.
    ///
    /// # Errors
    /// [`CommitError`]; then none of the batch counts.
    pub fn commit(
        &mut self,
        batch: &Batch,
        group: &ConsumerGroupMetadata,
    ) -> Result<OutputCounts, CommitError> {
        let offsets = self.offsets(batch)?;
        let (topics, process) = (&self.topics, &self.process);
        let delivery = self.writer.delivery();
        let (mut counts, mut last) = (OutputCounts::default(), OutputCounts::default());
        self.writer.commit(
            &offsets,
            group,
            |max_dead_letter, send| {
                let options = EncodeOptions {
                    delivery,
                    max_dead_letter,
                };
                counts = outbox::write(batch, topics, options, send)?;
                Ok(())
            },
            |send| {
                let options = EncodeOptions {
                    delivery,
                    max_dead_letter: usize::MAX,
                };
                last = outbox::write_last(batch, topics, options, process, send)?;
                Ok(())
            },
        )?;
        counts.checkpoint_writes.append(&mut last.checkpoint_writes);
        Ok(counts)
    }

    /// Returns whether the same batch may be committed again after `error` of the last commit:
    /// nothing of it counts, and this process is still a member of the group.
    #[must_use]
    pub fn may_retry(&self, error: &CommitError) -> bool {
        self.writer.may_retry(error)
    }

    fn offsets(&self, batch: &Batch) -> Result<TopicPartitionList, CommitError> {
        let mut offsets = TopicPartitionList::new();
        for part in &batch.partitions {
            let mut element = offsets.add_partition(&self.topics.session_logs, part.partition);
            at(
                "set the offset",
                element.set_offset(Offset::Offset(part.position)),
            )?;
            element.set_metadata(part.metadata.encode());
        }
        Ok(offsets)
    }
}
