//! Reads a dead-letter topic from its beginning to its current end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{anyhow, bail};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Message, Offset};

use super::letter::DeadLetter;
use crate::clock::Clock;
use crate::kafka::errors::WithHint;
use crate::kafka::headers::ReadableHeaders;
use crate::kafka::topic_reader::pending_ends::PendingEnds;
use crate::kafka::topic_reader::{Polled, ReaderOptions, TopicReader};
use crate::kafka::topics::OffsetRange;
use crate::wire::dead_letter::{PROCESSED, REASON};

/// Bounds one request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval at which a wait for records checks positions.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Bounds the time without a record; longer than the brokers' default transaction timeout.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

const OPTIONS: ReaderOptions<'_> = ReaderOptions {
    name: "sundown-dlq",
    request_timeout: REQUEST_TIMEOUT,
    properties: &[("auto.offset.reset", "earliest")],
};

/// A dead-letter topic as it was when it was opened.
pub(crate) struct Scan {
    config: ClientConfig,
    topic: String,
    /// The offsets of each partition that is not empty, up to its high watermark.
    offsets: BTreeMap<i32, OffsetRange>,
    processed: BTreeSet<(i32, i64)>,
    clock: Clock,
}

impl Scan {
    /// Lists the end offsets of `topic`, and reads which dead letters before them have been
    /// processed.
    pub(crate) fn open(config: &ClientConfig, topic: &str) -> anyhow::Result<Self> {
        let mut scan = Self {
            offsets: offsets(config, topic)?,
            topic: topic.to_owned(),
            processed: BTreeSet::new(),
            clock: Clock::default(),
            config: config.clone(),
        };
        let mut processed = BTreeSet::new();
        scan.read(|record| {
            if let Some(offset) = processed_offset(record) {
                processed.insert((record.partition(), offset));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        scan.processed = processed;
        Ok(scan)
    }

    /// The number of offsets to read.
    pub(crate) fn offsets(&self) -> u64 {
        let spans = self.offsets.values().map(|range| range.end - range.first);
        u64::try_from(spans.sum::<i64>()).unwrap_or_default()
    }

    /// Visits the dead letters that have not been processed, in order within each partition.
    pub(crate) fn letters(
        &self,
        mut visit: impl FnMut(DeadLetter) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        self.read(|record| {
            let place = (record.partition(), record.offset());
            if processed_offset(record).is_some() || self.processed.contains(&place) {
                return Ok(ControlFlow::Continue(()));
            }
            visit(DeadLetter::read(record))
        })
    }

    fn read(
        &self,
        mut visit: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        let ranges = self.offsets.iter();
        let mut pending: PendingEnds = ranges.map(|(&id, range)| (id, range.end)).collect();
        if pending.is_empty() {
            return Ok(());
        }
        let reader = TopicReader::new(&self.config, &OPTIONS)?;
        let ranges = self.offsets.iter();
        let first = ranges.map(|(&id, range)| (&*self.topic, id, Offset::Offset(range.first)));
        reader.assign(first)?;
        let mut last_record = self.clock.elapsed();
        while !pending.is_empty() {
            match reader.poll(POLL_INTERVAL) {
                Ok(Some(Polled::Record(record))) => {
                    last_record = self.clock.elapsed();
                    let (partition, offset) = (record.partition(), record.offset());
                    if pending.contains(partition, offset) && visit(&record)?.is_break() {
                        return Ok(());
                    }
                    pending.advance(partition, offset + 1);
                }
                // Transaction markers may follow the last record; only positions show them.
                Ok(Some(Polled::EndOfPartition(_)) | None) => {
                    for (partition, position) in reader.positions(&self.topic).unwrap_or_default() {
                        pending.advance(partition, position);
                    }
                }
                Err(error) if is_final(&error) => {
                    bail!("cannot read {}: {}", self.topic, WithHint(&error))
                }
                Err(_) => {}
            }
            if self.clock.elapsed().saturating_sub(last_record) > IDLE_TIMEOUT {
                bail!(
                    "cannot read {} to its end: a transaction is open on it, or the brokers do \
                     not respond; retry later",
                    self.topic
                );
            }
        }
        Ok(())
    }
}

/// The offsets of each partition that is not empty, up to its high watermark.
fn offsets(config: &ClientConfig, topic: &str) -> anyhow::Result<BTreeMap<i32, OffsetRange>> {
    let reader = TopicReader::read_uncommitted(config, &OPTIONS)?;
    let partitions =
        reader
            .partitions(topic)
            .map_err(|error| match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
                ) => {
                    anyhow!("topic {topic} does not exist; create it with `sundown topics create`")
                }
                Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                    anyhow!("cannot read {topic}: {}", WithHint(&error))
                }
                _ => anyhow!("no broker responds ({error}); check --bootstrap-servers"),
            })?;
    let offsets = reader.offsets(topic, &partitions);
    let mut offsets =
        offsets.map_err(|error| anyhow!("cannot list offsets of {topic}: {}", WithHint(&error)))?;
    offsets.retain(|_, range| range.first < range.end);
    Ok(offsets)
}

/// The offset of the dead letter that this record marks as processed.
fn processed_offset(record: &BorrowedMessage<'_>) -> Option<i64> {
    let headers = ReadableHeaders::copy(record.headers());
    // A dead letter has the headers of its source record, whatever they are called.
    if headers.last(REASON).is_some() {
        return None;
    }
    str::from_utf8(headers.last(PROCESSED)?).ok()?.parse().ok()
}

/// Whether librdkafka does not recover from this error.
fn is_final(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::Fatal,
        )
    )
}
