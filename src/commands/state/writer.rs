//! Writes the state of a partition in one transaction.

use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::kafka::errors::WithHint;
use crate::kafka::reader_config::with_group_id;
use crate::tracker::offset_metadata::OffsetMetadata;

/// Bounds each call of the transaction.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Bounds a transaction, in milliseconds: less than brokers allow by default.
const MAX_TRANSACTION_MS: &str = "600000";
/// Interval at which a full queue is tried again.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Writes the state of partitions while no tracker has them.
pub(super) struct StateWriter {
    topics: Topics,
    group: BaseConsumer,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl StateWriter {
    pub(super) fn new(global: &GlobalArgs, group: &str) -> anyhow::Result<Self> {
        let group = global.topics.prefixed(group);
        let config = with_group_id(&global.connection.client_config()?, &group);
        let mut producer = global.connection.producer_config()?;
        // Beside the trackers' transactional ids, which share the permission.
        producer
            .set("transactional.id", format!("{group}-state"))
            .set("transaction.timeout.ms", MAX_TRANSACTION_MS);
        let producer: ThreadedProducer<_> = producer.create()?;
        let started = producer.init_transactions(TRANSACTION_TIMEOUT);
        started.map_err(|error| failed(&error))?;
        Ok(Self {
            topics: global.topics.topics(),
            group: config.create()?,
            producer,
        })
    }

    /// Replaces the offset of a partition with `offset` and writes checkpoint records, without a
    /// value for tombstones: all of it, or nothing.
    ///
    /// # Errors
    /// If the brokers refuse it, as they do while the group has members.
    pub(super) fn commit<'a>(
        &self,
        partition: i32,
        (offset, metadata): (i64, &OffsetMetadata),
        records: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> anyhow::Result<()> {
        let mut offsets = TopicPartitionList::new();
        let mut element = offsets.add_partition(&self.topics.session_logs, partition);
        element.set_offset(Offset::Offset(offset))?;
        element.set_metadata(metadata.encode());
        let committed = self.transaction(partition, &offsets, records);
        committed.map_err(|error| failed(&error))
    }

    fn transaction<'a>(
        &self,
        partition: i32,
        offsets: &TopicPartitionList,
        records: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), KafkaError> {
        let group = self.group.group_metadata();
        let group = group.ok_or(KafkaError::Canceled)?;
        self.producer.begin_transaction()?;
        for (key, value) in records {
            let mut record = BaseRecord::<[u8], [u8]>::to(&self.topics.checkpoint);
            record.key = Some(key);
            record.payload = value;
            record.partition = Some(partition);
            self.send(record)?;
        }
        self.producer
            .send_offsets_to_transaction(offsets, &group, TRANSACTION_TIMEOUT)?;
        self.producer.commit_transaction(TRANSACTION_TIMEOUT)
    }

    /// Queues a record, waiting while the queue is full.
    fn send(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), KafkaError> {
        loop {
            match self.producer.send(record) {
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                    record = unsent;
                    thread::sleep(POLL_INTERVAL);
                }
                sent => return sent.map_err(|(error, _)| error),
            }
        }
    }
}

fn failed(error: &KafkaError) -> anyhow::Error {
    anyhow!(
        "the state of the partition was not changed: {}; with --group-protocol=consumer, stop the trackers first",
        WithHint(error)
    )
}
