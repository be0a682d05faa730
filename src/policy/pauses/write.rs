//! Pausing and resuming partitions.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::{Pause, Place};
use crate::kafka::Topics;
use crate::kafka::errors::WithHint;
use crate::kafka::topics::{TopicAdmin, TopicError, require};

/// How long one record may take to be written.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pauses and resumes partitions.
#[derive(Clone)]
pub struct PauseWriter {
    admin: TopicAdmin,
    config: ClientConfig,
    topics: Topics,
}

/// A pause that is not written.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// There is no such partition.
    #[error("{topic} has {partitions} partitions, counted from 0: there is no partition {asked}")]
    NoPartition {
        /// The topic.
        topic: String,
        /// How many it has.
        partitions: i32,
        /// Which was asked for.
        asked: i32,
    },
    /// The topics cannot be looked at.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// Kafka does not take it.
    #[error(
        "{topic} cannot be written to: {}; check that the brokers are up and that this user may write there",
        WithHint(reason)
    )]
    Kafka {
        /// The topic.
        topic: String,
        /// Why not.
        reason: KafkaError,
    },
}

impl PauseWriter {
    /// Writes with this configuration of a producer.
    ///
    /// # Errors
    /// If it is not one that librdkafka accepts.
    pub fn new(mut config: ClientConfig, topics: Topics) -> Result<Self, TopicError> {
        // Not idempotent: that costs librdkafka half a second at its start, and a record
        // that is written twice says the same twice.
        config
            .set("acks", "all")
            .set("message.timeout.ms", PATIENCE.as_millis().to_string());
        Ok(Self {
            admin: TopicAdmin::new(&config)?,
            config,
            topics,
        })
    }

    /// Pauses a partition, or resumes it where there is no pause, and waits until that is
    /// written. Whoever has the partition obeys within a moment.
    ///
    /// # Errors
    /// [`PauseError`] if there is no such partition, or it is not written.
    pub async fn write(&self, place: Place, pause: Option<&Pause>) -> Result<(), PauseError> {
        let topic = place.role.topic(&self.topics);
        let existing = require(&self.admin, &[topic, &self.topics.policies]).await?;
        let partitions = existing[topic].partition_count();
        if !(0..partitions).contains(&place.partition) {
            return Err(PauseError::NoPartition {
                topic: topic.to_owned(),
                partitions,
                asked: place.partition,
            });
        }
        let kafka = |reason| PauseError::Kafka {
            topic: self.topics.policies.clone(),
            reason,
        };
        let producer: FutureProducer = self.config.create().map_err(kafka)?;
        let key = place.key();
        // Texts and numbers always serialise.
        let value = pause.map(|pause| serde_json::to_string(pause).unwrap_or_default());
        let mut record = FutureRecord::<str, str>::to(&self.topics.policies).key(&key);
        record.payload = value.as_deref();
        let written = producer.send(record, PATIENCE).await;
        written.map_err(|(reason, _)| kafka(reason))?;
        Ok(())
    }
}

impl std::fmt::Debug for PauseWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PauseWriter")
            .field("topic", &self.topics.policies)
            .finish_non_exhaustive()
    }
}
