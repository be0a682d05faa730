//! Resets the state of a partition in one transaction.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::inspect::PartitionReport;
use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::kafka::errors::WithHint;
use crate::kafka::reader_config::with_group_id;
use crate::kafka::topic_reader::pending_ends::PendingEnds;
use crate::kafka::topic_reader::{Polled, ReaderOptions, TopicReader};
use crate::tracker::offset_metadata::{LogIdentity, OffsetMetadata};
use crate::tracker::restore::NOWHERE;

/// Bounds one request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bounds each call of the transaction.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);
/// Interval at which a wait for records checks positions.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Bounds the polls without a record: 30 s.
const MAX_IDLE_POLLS: u32 = 300;

/// Where trackers continue after a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResetTarget {
    /// Keep the sessions in the checkpoint, count all of them as active now, and skip the events
    /// that have not been read.
    Now,
    /// Forget the checkpoint and read all events that the topic still has. Sessions that ended
    /// before end again, under the same event ids.
    Beginning,
}

/// Resets partitions.
pub(super) struct Resetter {
    topics: Topics,
    reader: TopicReader,
    group: BaseConsumer,
    producer: ThreadedProducer<DefaultProducerContext>,
}

impl Resetter {
    pub(super) fn new(global: &GlobalArgs, group: &str) -> anyhow::Result<Self> {
        let group = global.topics.prefixed(group);
        let config = with_group_id(&global.connection.client_config()?, &group);
        let options = ReaderOptions {
            name: "sundown-state",
            request_timeout: REQUEST_TIMEOUT,
            properties: &[],
        };
        let mut producer = global.connection.producer_config()?;
        // Beside the trackers' transactional ids, which share the permission.
        producer.set("transactional.id", format!("{group}-state"));
        let producer: ThreadedProducer<_> = producer.create()?;
        let started = producer.init_transactions(TRANSACTION_TIMEOUT);
        started.map_err(|error| failed(&error))?;
        Ok(Self {
            topics: global.topics.topics(),
            reader: TopicReader::new(&config, &options)?,
            group: config.create()?,
            producer,
        })
    }

    /// Resets a partition; returns the offset at which trackers continue.
    pub(super) fn reset(&self, report: &PartitionReport, to: ResetTarget) -> anyhow::Result<i64> {
        let (offset, replay_from, sessions, forgotten) = match to {
            ResetTarget::Now => (report.end, NOWHERE, None, BTreeSet::new()),
            ResetTarget::Beginning => {
                let keys = self.checkpoint_keys(report.partition)?;
                (report.start, report.start, Some(0), keys)
            }
        };
        let metadata = OffsetMetadata {
            watermark: None,
            replay_from,
            identity: LogIdentity {
                sessions,
                ..report.actual_identity
            },
            // Sessions stay where they are. If nothing was committed, the other partitions state it.
            routing: report.routing,
        };
        let mut offsets = TopicPartitionList::new();
        let mut element = offsets.add_partition(&self.topics.session_logs, report.partition);
        element.set_offset(Offset::Offset(offset))?;
        element.set_metadata(metadata.encode());
        self.commit(report.partition, &offsets, &forgotten)
            .map_err(|error| failed(&error))?;
        Ok(offset)
    }

    /// Writes tombstones and offsets, all of them or nothing.
    fn commit(
        &self,
        partition: i32,
        offsets: &TopicPartitionList,
        forgotten: &BTreeSet<Vec<u8>>,
    ) -> Result<(), KafkaError> {
        let group = self.group.group_metadata();
        let group = group.ok_or(KafkaError::Canceled)?;
        self.producer.begin_transaction()?;
        for key in forgotten {
            let mut tombstone = BaseRecord::<[u8], [u8]>::to(&self.topics.checkpoint);
            tombstone.key = Some(key);
            tombstone.partition = Some(partition);
            self.send(tombstone)?;
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

    /// The keys of a checkpoint partition that have a value.
    fn checkpoint_keys(&self, partition: i32) -> anyhow::Result<BTreeSet<Vec<u8>>> {
        let topic = &self.topics.checkpoint;
        let context = || format!("cannot read {topic}/{partition}");
        let range = self.reader.partition_offsets(topic, partition);
        let range = range.with_context(context)?;
        let mut keys = BTreeSet::new();
        if range.first >= range.end {
            return Ok(keys);
        }
        let mut pending: PendingEnds = std::iter::once((partition, range.end)).collect();
        let first = [(topic.as_str(), partition, Offset::Offset(range.first))];
        self.reader.assign(first).with_context(context)?;
        let mut idle = 0;
        while !pending.is_empty() {
            idle += 1;
            match self.reader.poll(POLL_INTERVAL) {
                Ok(Some(Polled::Record(record))) => {
                    idle = 0;
                    let key = record.key().unwrap_or_default().to_vec();
                    if record.payload().is_some() {
                        keys.insert(key);
                    } else {
                        keys.remove(&key);
                    }
                    pending.advance(partition, record.offset() + 1);
                }
                Ok(Some(Polled::EndOfPartition(_)) | None) | Err(_) => {
                    for (number, position) in self.reader.positions(topic).unwrap_or_default() {
                        pending.advance(number, position);
                    }
                }
            }
            if idle > MAX_IDLE_POLLS {
                return Err(anyhow!("no broker responds")).with_context(context);
            }
        }
        self.reader.unassign().with_context(context)?;
        Ok(keys)
    }
}

fn failed(error: &KafkaError) -> anyhow::Error {
    anyhow!(
        "the state was not reset: {}; with --group-protocol=consumer, stop the trackers first",
        WithHint(error)
    )
}
