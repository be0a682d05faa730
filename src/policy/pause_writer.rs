//! Pausing and resuming partitions.

use std::time::Duration;

use rdkafka::ClientConfig;

use crate::kafka::Topics;
use crate::kafka::topics::{TopicAdmin, TopicError, require};
use crate::policy::pauses::{Pause, RolePartition};
use crate::policy::writer::{PolicyTopicWriter, PolicyWriteError};

/// Bounds the delivery of one record.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses and resumes partitions that exist.
#[derive(Clone)]
pub struct PauseWriter {
    admin: TopicAdmin,
    config: ClientConfig,
    topics: Topics,
}

/// Why a pause was not written.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    #[error("{topic} has {count} partitions, counted from 0: there is no partition {requested}")]
    NoPartition {
        topic: String,
        count: i32,
        requested: i32,
    },
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error(transparent)]
    Write(#[from] PolicyWriteError),
}

impl PauseWriter {
    /// Creates a writer from the configuration of a producer. It connects with each write.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn new(config: ClientConfig, topics: Topics) -> Result<Self, TopicError> {
        Ok(Self {
            admin: TopicAdmin::new(&config)?,
            config,
            topics,
        })
    }

    /// Pauses a partition, or resumes it if `pause` is `None`, and waits for the
    /// acknowledgement. The process that has the partition applies it within a second.
    ///
    /// # Errors
    /// If there is no such partition, or the record is not acknowledged.
    pub async fn write(
        &self,
        partition: RolePartition,
        pause: Option<&Pause>,
    ) -> Result<(), PauseError> {
        let topic = partition.role.topic(&self.topics);
        let existing = require(&self.admin, &[topic, &self.topics.policies]).await?;
        let count = existing[topic].partition_count();
        if !(0..count).contains(&partition.partition) {
            return Err(PauseError::NoPartition {
                topic: topic.to_owned(),
                count,
                requested: partition.partition,
            });
        }
        let config = self.config.clone();
        let writer = PolicyTopicWriter::for_user(config, &self.topics.policies, DELIVERY_TIMEOUT)?;
        writer.write_pause(partition, pause).await?;
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
