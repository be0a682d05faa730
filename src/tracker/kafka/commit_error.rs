//! Why a batch was not committed.

use rdkafka::error::KafkaError;

use crate::kafka::errors::WithHint;
use crate::kafka::recreating_producer;

/// Why a batch has not been committed. Nothing of it counts.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Kafka refused or did not answer.
    #[error("{step}: {}", WithHint(source))]
    Kafka {
        /// Doing what.
        step: &'static str,
        /// Its answer.
        source: KafkaError,
    },
    /// Records were not acknowledged in time.
    #[error("{0} records were not acknowledged in time")]
    Unacknowledged(i32),
    /// Records were refused, or given up.
    #[error(
        "{count} records could not be written, the first to {topic}: {}",
        WithHint(reason)
    )]
    Unwritten {
        /// How many.
        count: u64,
        /// Where the first should have gone.
        topic: String,
        /// Why it has not.
        reason: KafkaError,
    },
    /// Records were refused because of their size: dead letters, nothing else is large.
    #[error("{0} dead letters are larger than their topic takes")]
    TooLarge(u64),
    /// Another process has the transactional id, or a transaction was open for too long.
    #[error("the brokers have taken the transactional id away: {0}")]
    Fenced(Box<CommitError>),
}

impl CommitError {
    /// Whether the brokers have taken the transactional id away.
    #[must_use]
    pub const fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced(_))
    }
}

impl CommitError {
    /// Whether records were given up because nobody took them in time. The producer may
    /// have lost their partitions for good, whatever the brokers do since
    /// ([`renewing`](crate::kafka::recreating_producer) says why).
    pub(super) fn has_timed_out(&self) -> bool {
        matches!(self, Self::Unwritten { reason, .. } if recreating_producer::must_recreate(reason))
    }

    /// Whether librdkafka refuses how the producer is configured: trying again does not help.
    #[must_use]
    pub const fn is_of_configuration(&self) -> bool {
        let Self::Kafka { source, .. } = self else {
            return false;
        };
        matches!(
            source,
            KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_)
        )
    }
}

pub(super) type Step<T> = Result<T, CommitError>;

pub(super) fn at<T>(step: &'static str, result: Result<T, KafkaError>) -> Step<T> {
    result.map_err(|source| CommitError::Kafka { step, source })
}
