//! Why a batch was not committed.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::kafka::errors::WithHint;
use crate::kafka::recreating_producer;

/// Why a batch was not committed. None of it counts.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Kafka refused a step or did not answer.
    #[error("{step}: {}", WithHint(source))]
    Kafka {
        step: &'static str,
        source: KafkaError,
    },
    /// Records were not acknowledged in time.
    #[error("{0} records were not acknowledged in time")]
    Unacknowledged(i32),
    /// Records were refused, or timed out.
    #[error(
        "{count} records could not be written to {}: {}",
        topics.join(", "),
        WithHint(reason)
    )]
    Unwritten {
        count: u64,
        /// The topics of the records. When the brokers refuse a topic, librdkafka fails the whole
        /// transaction with a reason that does not name it.
        topics: Vec<String>,
        /// The error of the first record.
        reason: KafkaError,
    },
    /// Dead letters were refused because of their size; no other output is large.
    #[error("{0} dead letters exceed max.message.bytes of their topic")]
    TooLarge(u64),
    /// Another process has the transactional id, or a transaction was open for too long.
    #[error("the brokers fenced the transactional id: {0}")]
    Fenced(Box<CommitError>),
}

impl CommitError {
    /// Returns whether the brokers fenced the transactional id.
    #[must_use]
    pub const fn is_fenced(&self) -> bool {
        matches!(self, Self::Fenced(_))
    }

    /// Returns whether the group may have given the partitions to another member.
    pub(super) fn concerns_membership(&self) -> bool {
        let Self::Kafka { source, .. } = self else {
            return false;
        };
        matches!(
            source.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::UnknownMemberId
                    | RDKafkaErrorCode::IllegalGeneration
                    | RDKafkaErrorCode::RebalanceInProgress
                    | RDKafkaErrorCode::FencedInstanceId
                    | RDKafkaErrorCode::FencedMemberEpoch
                    | RDKafkaErrorCode::StaleMemberEpoch
            )
        )
    }

    /// Returns whether records timed out, after which the producer may never write to their
    /// partitions again ([`recreating_producer`]).
    pub(super) fn has_timed_out(&self) -> bool {
        matches!(self, Self::Unwritten { reason, .. } if recreating_producer::must_recreate(reason))
    }

    /// Returns whether librdkafka refuses the producer's configuration: a retry does not help.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        let Self::Kafka { source, .. } = self else {
            return false;
        };
        matches!(
            source,
            KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_)
        )
    }
}

/// Names the step that failed.
pub(crate) fn at<T>(step: &'static str, result: Result<T, KafkaError>) -> Result<T, CommitError> {
    result.map_err(|source| CommitError::Kafka { step, source })
}
