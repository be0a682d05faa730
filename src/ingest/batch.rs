//! What has been read since the last commit.

use std::collections::BTreeMap;

use rdkafka::Message;
use rdkafka::message::BorrowedMessage;

use crate::dead_letters::rejected_record::RejectedRecord;
use crate::kafka::Topics;
use crate::kafka::event_writer::Target;
use crate::kafka::transaction::record::ProducerRecord;
use crate::source::mapping::{Mapped, MappedEvent, Mapping, MappingError};
use crate::source::record::from_message;
use crate::source::registry::schemas::MissingSchema;
use crate::wire::dead_letter::Cause;

/// The outputs of the records read since the last commit, by partition.
#[derive(Debug, Default)]
pub struct IngestBatch {
    partitions: BTreeMap<i32, PartitionOutputs>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct PartitionOutputs {
    events: Vec<MappedEvent>,
    dead_letters: Vec<RejectedRecord>,
    skipped: u64,
}

/// What a batch contains, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngestCounts {
    pub events: u64,
    pub skipped: u64,
    pub unusable_attributes: u64,
    /// Dead letters by reason.
    pub dead_letters: BTreeMap<&'static str, u64>,
}

impl IngestBatch {
    /// Maps a record and adds the event or the dead letter.
    ///
    /// # Errors
    /// If the schema of the record has not been fetched; nothing is added.
    pub fn add(
        &mut self,
        mapping: &Mapping,
        message: &BorrowedMessage<'_>,
    ) -> Result<(), MissingSchema> {
        let outputs = self.partitions.entry(message.partition()).or_default();
        match mapping.map(&from_message(message, mapping.reads_headers())) {
            Ok(Mapped::Skipped) => outputs.skipped += 1,
            Ok(Mapped::Event(event)) => {
                self.bytes += event.value.len();
                outputs.events.push(event);
            }
            Err(MappingError::MissingSchema { missing, .. }) => return Err(missing),
            Err(error) => {
                let cause = Cause {
                    reason: error.code(),
                    error: error.to_string(),
                    attempts: 1,
                };
                let rejected = RejectedRecord::new(message, cause);
                self.bytes += rejected.bytes();
                outputs.dead_letters.push(rejected);
            }
        }
        Ok(())
    }

    /// The bytes of all outputs.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops the outputs of partitions that belong to other members now.
    pub fn drop_partitions(&mut self, partitions: &[i32]) {
        self.partitions.retain(|one, _| !partitions.contains(one));
    }

    /// Counts the contents.
    #[must_use]
    pub fn counts(&self) -> IngestCounts {
        let mut counts = IngestCounts::default();
        for outputs in self.partitions.values() {
            counts.events += outputs.events.len() as u64;
            counts.skipped += outputs.skipped;
            let unusable = outputs
                .events
                .iter()
                .map(|event| u64::from(event.unusable_attributes));
            counts.unusable_attributes += unusable.sum::<u64>();
            for rejected in &outputs.dead_letters {
                *counts
                    .dead_letters
                    .entry(rejected.cause.reason)
                    .or_default() += 1;
            }
        }
        counts
    }

    /// Writes the outputs of records of `topic` through `send`. Dead letters of more than
    /// `max_dead_letter` bytes are written without the contents of their records.
    ///
    /// # Errors
    /// The first error of `send`.
    pub fn write<E>(
        &self,
        topic: &str,
        topics: &Topics,
        max_dead_letter: usize,
        mut send: impl FnMut(ProducerRecord<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for (&partition, outputs) in &self.partitions {
            for event in &outputs.events {
                let key = match &event.target {
                    // A tracker forwards an event about several sessions to all partitions.
                    Target::Key(key) => Some(key.as_bytes()),
                    Target::EveryPartition | Target::Anywhere => None,
                };
                send(ProducerRecord {
                    topic: &topics.session_logs,
                    partition: None,
                    key,
                    value: Some(&event.value),
                    headers: None,
                    timestamp: None,
                })?;
            }
            for rejected in &outputs.dead_letters {
                let source = (topic, partition);
                let dead_letters = &topics.session_logs_dlq;
                send(rejected.dead_letter(dead_letters, source, max_dead_letter))?;
            }
        }
        Ok(())
    }
}
