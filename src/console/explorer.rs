//! Reads excerpts of the installation's topics on request.

pub mod decode;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Offset};
use tokio::sync::Semaphore;

use super::live::tail::TailRecord;
use super::problem::Problem;
use crate::clock::Clock;
use crate::kafka::errors::WithHint;
use crate::kafka::topic_reader::{Polled, ReaderOptions, TopicReader};
use crate::kafka::topics::{ExistingTopics, OffsetRange, TopicAdmin};
use crate::session::Timestamp;

/// Bounds the records of one excerpt.
pub const MAX_RECORDS: usize = 100;
/// Bounds concurrent reads; further ones are refused.
const MAX_CONCURRENT_READS: usize = 4;
/// Bounds each request for offsets, and the reading of records.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval at which a wait for records checks the time.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Bounds the records that librdkafka fetches ahead, in KiB.
const MAX_PREFETCH_KIB: &str = "4096";

const OPTIONS: ReaderOptions<'_> = ReaderOptions {
    name: "sundown-console-explorer",
    request_timeout: READ_TIMEOUT,
    properties: &[
        ("auto.offset.reset", "earliest"),
        ("queued.max.messages.kbytes", MAX_PREFETCH_KIB),
    ],
};

/// The first record of an excerpt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Offset(i64),
    /// The first record with this timestamp or a later one.
    Time(Timestamp),
    /// The one from which the excerpt reaches the end of the partition.
    Newest,
}

/// Records of a partition.
#[derive(Clone, Debug)]
pub struct Excerpt {
    /// The records, in order.
    pub records: Vec<TailRecord>,
    /// The partition's first and last stable offset.
    pub offsets: OffsetRange,
}

/// Reads excerpts of topics, a few at a time.
#[derive(Clone)]
pub struct Explorer {
    config: ClientConfig,
    admin: TopicAdmin,
    permits: Arc<Semaphore>,
}

impl Explorer {
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn new(config: &ClientConfig) -> anyhow::Result<Self> {
        let admin = TopicAdmin::new(config)?;
        Ok(Self {
            config: config.clone(),
            admin,
            permits: Arc::new(Semaphore::new(MAX_CONCURRENT_READS)),
        })
    }

    /// Those of `names` that exist.
    ///
    /// # Errors
    /// [`Problem::Kafka`] if no broker responds.
    pub async fn existing(&self, names: &[&str]) -> Result<ExistingTopics, Problem> {
        let existing = self.admin.existing(names).await;
        existing.map_err(|error| Problem::Kafka(error.to_string()))
    }

    /// The offsets of a topic's partitions, in order of their numbers.
    ///
    /// # Errors
    /// [`Problem::Kafka`] if no broker responds.
    pub async fn offsets(&self, topic: &str, partitions: i32) -> Result<Vec<OffsetRange>, Problem> {
        let offsets = self.admin.offsets(topic, partitions).await;
        offsets.map_err(|error| Problem::Kafka(error.to_string()))
    }

    /// Reads up to `count` committed records of a partition, at most [`MAX_RECORDS`].
    ///
    /// # Errors
    /// [`Problem::Busy`] if too many reads are running, [`Problem::Kafka`] if no broker responds.
    pub async fn read(
        &self,
        topic: &str,
        partition: i32,
        start: Start,
        count: usize,
    ) -> Result<Excerpt, Problem> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| Problem::Busy)?;
        let (config, topic) = (self.config.clone(), topic.to_owned());
        let reading = tokio::task::spawn_blocking(move || {
            let excerpt = read(&config, &topic, partition, start, count.min(MAX_RECORDS));
            drop(permit);
            excerpt
        });
        let excerpt = reading.await.unwrap_or(Err(KafkaError::Canceled));
        excerpt.map_err(|error| Problem::Kafka(WithHint(&error).to_string()))
    }
}

impl std::fmt::Debug for Explorer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Explorer").finish_non_exhaustive()
    }
}

fn read(
    config: &ClientConfig,
    topic: &str,
    partition: i32,
    start: Start,
    count: usize,
) -> KafkaResult<Excerpt> {
    let reader = TopicReader::new(config, &OPTIONS)?;
    let offsets = reader.partition_offsets(topic, partition)?;
    let OffsetRange { first, end } = offsets;
    let limit = i64::try_from(count).unwrap_or(i64::MAX);
    let start = match start {
        Start::Offset(offset) => offset,
        Start::Newest => end - limit,
        Start::Time(time) => {
            let found = reader.offset_for_time(topic, partition, time)?;
            found.unwrap_or(end)
        }
    };
    let start = Offset::Offset(start.clamp(first, end));
    reader.assign([(topic, partition, start)])?;
    let clock = Clock::default();
    let mut records = Vec::new();
    while records.len() < count && clock.elapsed() < READ_TIMEOUT {
        match reader.poll(POLL_INTERVAL)? {
            Some(Polled::Record(record)) => records.push(TailRecord::from(&record)),
            Some(Polled::EndOfPartition(_)) => break,
            None => {}
        }
    }
    Ok(Excerpt { records, offsets })
}
