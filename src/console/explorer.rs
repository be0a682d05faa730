//! Reads records of the installation's topics when somebody asks for them.

pub mod decode;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::Semaphore;

use super::live::tail::TailRecord;
use super::problem::Problem;
use crate::clock::Clock;
use crate::kafka::errors::WithHint;
use crate::kafka::reader::{self, reader_config};
use crate::kafka::topics::{ExistingTopics, Offsets, TopicAdmin};
use crate::session::Timestamp;

/// The most records that one answer holds.
pub const MAX_RECORDS: usize = 100;
/// Questions answered at once; further ones are refused.
const MAX_QUESTIONS: usize = 4;
/// How long one answer may take to come together.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for a record before looking at the time.
const POLL: Duration = Duration::from_millis(100);
/// How much of a partition is fetched ahead, in KiB.
const FETCHED_KIB: &str = "4096";

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this offset.
    Offset(i64),
    /// At the first record of this time or later.
    Time(Timestamp),
    /// So that the last record of the partition is the last of the answer.
    Newest,
}

/// Records of a partition, and where it begins and ends.
#[derive(Clone, Debug)]
pub struct Excerpt {
    /// The records, in order.
    pub records: Vec<TailRecord>,
    /// What the partition has.
    pub offsets: Offsets,
}

/// Reads records.
#[derive(Clone)]
pub struct Explorer {
    config: ClientConfig,
    admin: TopicAdmin,
    places: Arc<Semaphore>,
}

impl Explorer {
    /// Reads from the cluster that `config` names.
    ///
    /// # Errors
    /// If it is not one that librdkafka accepts.
    pub fn new(config: &ClientConfig) -> anyhow::Result<Self> {
        let admin = TopicAdmin::new(config)?;
        let mut config = reader_config(config, "sundown-console-explorer");
        config
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", FETCHED_KIB);
        Ok(Self {
            config,
            admin,
            places: Arc::new(Semaphore::new(MAX_QUESTIONS)),
        })
    }

    /// Those of `names` that exist.
    ///
    /// # Errors
    /// [`Problem::Kafka`] if no broker answers.
    pub async fn existing(&self, names: &[&str]) -> Result<ExistingTopics, Problem> {
        let existing = self.admin.existing(names).await;
        existing.map_err(|error| Problem::Kafka(error.to_string()))
    }

    /// The offsets of a topic's partitions, in order.
    ///
    /// # Errors
    /// [`Problem::Kafka`] if no broker answers.
    pub async fn offsets(&self, topic: &str, partitions: i32) -> Result<Vec<Offsets>, Problem> {
        let offsets = self.admin.offsets(topic, partitions).await;
        offsets.map_err(|error| Problem::Kafka(error.to_string()))
    }

    /// Up to `count` committed records of a partition.
    ///
    /// # Errors
    /// [`Problem::Busy`] if too many ask at once, [`Problem::Kafka`] if no broker answers.
    pub async fn read(
        &self,
        topic: &str,
        partition: i32,
        start: Start,
        count: usize,
    ) -> Result<Excerpt, Problem> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Problem::Busy)?;
        let (config, topic) = (self.config.clone(), topic.to_owned());
        let reading = tokio::task::spawn_blocking(move || {
            let excerpt = read(&config, &topic, partition, start, count.min(MAX_RECORDS));
            drop(place);
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
    let consumer: BaseConsumer = config.create()?;
    let (first, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
    let wanted = i64::try_from(count).unwrap_or(i64::MAX);
    let offset = match start {
        Start::Offset(offset) => offset,
        Start::Newest => end - wanted,
        Start::Time(at) => at_time(&consumer, topic, partition, at)?.unwrap_or(end),
    };
    let mut position = TopicPartitionList::new();
    position.add_partition_offset(topic, partition, Offset::Offset(offset.clamp(first, end)))?;
    consumer.assign(&position)?;
    let clock = Clock::default();
    let mut records = Vec::new();
    while records.len() < count && clock.elapsed() < PATIENCE {
        match reader::poll(&consumer, POLL) {
            Some(Ok(record)) => records.push(TailRecord::from(&record)),
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) => return Err(error),
            None => {}
        }
    }
    Ok(Excerpt {
        records,
        offsets: Offsets { first, end },
    })
}

fn at_time(
    consumer: &BaseConsumer,
    topic: &str,
    partition: i32,
    at: Timestamp,
) -> KafkaResult<Option<i64>> {
    let mut asked = TopicPartitionList::new();
    // Negative times would be Kafka's names for the beginning and the end.
    let at = at.as_millis().max(0);
    asked.add_partition_offset(topic, partition, Offset::Offset(at))?;
    let answer = consumer.offsets_for_times(asked, PATIENCE)?;
    let found = answer.elements().first().map(|element| element.offset());
    Ok(match found {
        Some(Offset::Offset(offset)) => Some(offset),
        _ => None,
    })
}
