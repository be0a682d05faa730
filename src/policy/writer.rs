//! The writer of the policy topic.
//!
//! All records of the topic go through it: policies, sources, pauses, and their tombstones.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::FutureRecord;

use crate::kafka::errors::WithHint;
use crate::kafka::recreating_producer::RecreatingProducer;
use crate::policy::pauses::{Pause, RolePartition};

/// Writes records to the policy topic, and waits for their acknowledgement.
pub struct PolicyTopicWriter {
    producer: RecreatingProducer,
    topic: String,
}

/// A record that was not acknowledged.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write to {topic}: {}; check that the brokers are up and that this user is authorized to write to the topic",
    WithHint(reason)
)]
pub struct PolicyWriteError {
    topic: String,
    reason: KafkaError,
}

impl PolicyTopicWriter {
    /// Creates an idempotent writer for a leader that may lose its leadership: a record that is
    /// not acknowledged within `delivery_timeout` is dropped, and no request outlives it.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn for_leader(
        mut config: ClientConfig,
        topic: &str,
        delivery_timeout: Duration,
    ) -> Result<Self, PolicyWriteError> {
        // librdkafka accepts no socket timeout below a second.
        let socket_timeout = delivery_timeout.max(Duration::from_secs(1));
        config
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .set("socket.timeout.ms", socket_timeout.as_millis().to_string());
        Self::new(config, topic, delivery_timeout)
    }

    /// Creates a writer of a few records on behalf of a user.
    ///
    /// It is not idempotent: that would delay the first record by half a second, and a
    /// duplicate of a record changes nothing.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn for_user(
        mut config: ClientConfig,
        topic: &str,
        delivery_timeout: Duration,
    ) -> Result<Self, PolicyWriteError> {
        config.set("acks", "all");
        Self::new(config, topic, delivery_timeout)
    }

    fn new(
        mut config: ClientConfig,
        topic: &str,
        delivery_timeout: Duration,
    ) -> Result<Self, PolicyWriteError> {
        let delivery_timeout = delivery_timeout.as_millis().to_string();
        config.set("message.timeout.ms", delivery_timeout);
        let producer = RecreatingProducer::new(config).map_err(|reason| PolicyWriteError {
            topic: topic.to_owned(),
            reason,
        })?;
        Ok(Self {
            producer,
            topic: topic.to_owned(),
        })
    }

    /// Writes an [encoded](super::record::encode) policy or a source under its key, or its
    /// tombstone, and returns the record's offset.
    ///
    /// # Errors
    /// If the brokers do not acknowledge the record in time.
    pub async fn write_record(
        &self,
        key: &str,
        value: Option<&str>,
    ) -> Result<i64, PolicyWriteError> {
        let mut record = FutureRecord::<str, str>::to(&self.topic).key(key);
        record.payload = value;
        let sent = self.producer.send(record, Duration::ZERO).await;
        sent.map(|delivery| delivery.offset)
            .map_err(|reason| PolicyWriteError {
                topic: self.topic.clone(),
                reason,
            })
    }

    /// Writes the pause of a partition, or its tombstone, and returns the record's offset.
    ///
    /// # Errors
    /// If the brokers do not acknowledge the record in time.
    pub async fn write_pause(
        &self,
        partition: RolePartition,
        pause: Option<&Pause>,
    ) -> Result<i64, PolicyWriteError> {
        // Strings and numbers always serialize.
        let value = pause.map(|pause| serde_json::to_string(pause).unwrap_or_default());
        self.write_record(&partition.key(), value.as_deref()).await
    }
}
