//! Reading a dead-letter topic from its beginning to its present end.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::letter::DeadLetter;
use crate::clock::Clock;
use crate::kafka::errors::WithHint;
use crate::kafka::reader::{self, reader_config};
use crate::wire::dead_letter::PROCESSED;

/// How long one question to the brokers may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for a record before looking at the positions.
const POLL: Duration = Duration::from_millis(100);
/// For how long nothing may come before this is given up: longer than the brokers keep a
/// transaction open that nobody ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// A dead-letter topic as it was when it was opened.
pub(crate) struct Scan {
    config: ClientConfig,
    topic: String,
    /// Where each partition begins and ends, empty ones left out.
    ranges: BTreeMap<i32, (i64, i64)>,
    processed: BTreeSet<(i32, i64)>,
    clock: Clock,
}

impl Scan {
    /// Notes where `topic` ends, and which letters before that have been dealt with.
    pub(crate) fn open(config: &ClientConfig, topic: &str) -> anyhow::Result<Self> {
        let mut config = reader_config(config, "sundown-dlq");
        config
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_uncommitted");
        let mut scan = Self {
            ranges: ranges(&config, topic)?,
            topic: topic.to_owned(),
            processed: BTreeSet::new(),
            clock: Clock::default(),
            config,
        };
        scan.config.set("isolation.level", "read_committed");
        let mut processed = BTreeSet::new();
        scan.read(|record| {
            if let Some(offset) = settles(record) {
                processed.insert((record.partition(), offset));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        scan.processed = processed;
        Ok(scan)
    }

    /// How many offsets there are to read.
    pub(crate) fn offsets(&self) -> u64 {
        let spans = self.ranges.values().map(|(start, end)| end - start);
        u64::try_from(spans.sum::<i64>()).unwrap_or_default()
    }

    /// Visits the letters that nobody has dealt with, oldest first in each partition.
    pub(crate) fn letters(
        &self,
        mut visit: impl FnMut(DeadLetter) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        self.read(|record| {
            let place = (record.partition(), record.offset());
            if settles(record).is_some() || self.processed.contains(&place) {
                return Ok(ControlFlow::Continue(()));
            }
            visit(DeadLetter::read(record))
        })
    }

    fn read(
        &self,
        mut visit: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        let mut open = self.ranges.clone();
        let mut assignment = TopicPartitionList::new();
        for (&partition, &(start, _)) in &open {
            assignment.add_partition_offset(&self.topic, partition, Offset::Offset(start))?;
        }
        if open.is_empty() {
            return Ok(());
        }
        let consumer: BaseConsumer = self.config.create()?;
        consumer.assign(&assignment)?;
        let mut last = self.clock.elapsed();
        while !open.is_empty() {
            match reader::poll(&consumer, POLL) {
                Some(Ok(record)) => {
                    last = self.clock.elapsed();
                    let Some(&(_, end)) = open.get(&record.partition()) else {
                        continue;
                    };
                    if record.offset() < end && visit(&record)?.is_break() {
                        return Ok(());
                    }
                    if record.offset() + 1 >= end {
                        open.remove(&record.partition());
                    }
                }
                Some(Err(error)) => explain(&error, &self.topic)?,
                None => self.close_at_end(&consumer, &mut open),
            }
            if self.clock.elapsed().saturating_sub(last) > PATIENCE {
                bail!(
                    "the end of {} is not reached: a transaction is open there, or the \
                     brokers do not answer; try again in a while",
                    self.topic
                );
            }
        }
        Ok(())
    }

    /// Behind the last record there may be transaction markers, which only positions show.
    fn close_at_end(&self, consumer: &BaseConsumer, open: &mut BTreeMap<i32, (i64, i64)>) {
        let Ok(positions) = consumer.position() else {
            return;
        };
        open.retain(|&partition, &mut (_, end)| {
            let element = positions.find_partition(&self.topic, partition);
            let offset = element.map(|element| element.offset());
            !matches!(offset, Some(Offset::Offset(at)) if at >= end)
        });
    }
}

fn ranges(config: &ClientConfig, topic: &str) -> anyhow::Result<BTreeMap<i32, (i64, i64)>> {
    let consumer: BaseConsumer = config.create()?;
    let metadata = consumer
        .fetch_metadata(Some(topic), TIMEOUT)
        .context("no broker answers; check --bootstrap-servers")?;
    let partitions = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions());
    let mut ranges = BTreeMap::new();
    for partition in partitions.map(|partition| partition.id()) {
        let range = consumer.fetch_watermarks(topic, partition, TIMEOUT);
        let (start, end) = range.with_context(|| format!("cannot ask where {topic} ends"))?;
        if start < end {
            ranges.insert(partition, (start, end));
        }
    }
    if metadata
        .topics()
        .iter()
        .all(|topic| topic.partitions().is_empty())
    {
        bail!("there is no topic {topic}; make it with `sundown topics create`");
    }
    Ok(ranges)
}

/// The offset of the letter that this record says has been dealt with.
fn settles(record: &BorrowedMessage<'_>) -> Option<i64> {
    let mut headers = record.headers()?.iter();
    let header = headers.find(|header| header.key == PROCESSED)?;
    str::from_utf8(header.value?).ok()?.parse().ok()
}

/// Errors that librdkafka recovers from on its own are no end.
fn explain(error: &KafkaError, topic: &str) -> anyhow::Result<()> {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::Fatal,
        ) => bail!("cannot read {topic}: {}", WithHint(error)),
        _ => {
            tracing::debug!(%error, topic, "reading failed; trying again");
            Ok(())
        }
    }
}
