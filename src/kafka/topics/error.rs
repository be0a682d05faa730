//! Errors of topic administration.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why topics cannot be used, described, created or deleted.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// librdkafka rejects the configuration.
    #[error("cannot create a Kafka client: {0}; check -X and the --tls and --sasl flags")]
    Client(KafkaError),
    /// No broker responded in time.
    #[error("cannot reach Kafka at {bootstrap}: {reason}: {hint}")]
    Unreachable {
        bootstrap: Box<str>,
        reason: KafkaError,
        /// The last connection error, and how to fix it.
        hint: Box<str>,
    },
    /// Fewer brokers than replicas of each partition.
    #[error(
        "{brokers} brokers are too few for {replicas} replicas of each partition: set --replication-factor; nothing has been changed"
    )]
    TooFewBrokers { brokers: usize, replicas: i32 },
    /// Required topics do not exist or are hidden from the user.
    #[error(
        "missing topics: {}; create them with: sundown topics create. If they exist, this user lacks permissions: grant it Read or Write on them",
        names.join(", ")
    )]
    Missing { names: Vec<String> },
    /// The numbers of partitions differ.
    #[error(
        "{checkpoint} has {checkpoint_partitions} partitions and {source_topic} has {source_partitions}, but a session's checkpoint must be on the partition of its events; add partitions to the smaller one with: sundown topics grow --partitions {}",
        checkpoint_partitions.max(source_partitions)
    )]
    PartitionMismatch {
        checkpoint: String,
        checkpoint_partitions: i32,
        /// The topic of session events.
        source_topic: String,
        source_partitions: i32,
    },
    /// A topic has a property with which promises cannot be kept.
    #[error(
        "{topic} has {property}={actual} and needs {expected}: {reason}; change it with: kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {property}={expected}{alternative}"
    )]
    Misconfigured {
        topic: String,
        property: &'static str,
        actual: String,
        expected: &'static str,
        reason: &'static str,
        /// Another remedy, with a conjunction in front; or empty.
        alternative: &'static str,
    },
    /// The cluster refused to create or delete a topic.
    #[error("{topic} cannot be {change}: {code}{}", hint(*code))]
    Refused {
        topic: String,
        /// `created`, `extended` or `deleted`.
        change: &'static str,
        code: RDKafkaErrorCode,
    },
    /// The cluster accepted a change but did not apply it in time.
    #[error("{} not {change} after {seconds} s, although Kafka accepted the request; check the brokers' logs, then retry", names.join(", "))]
    TimedOut {
        /// The topics that are not changed yet.
        names: Vec<String>,
        /// `created`, `extended` or `deleted`.
        change: &'static str,
        seconds: u64,
    },
}

fn hint(code: RDKafkaErrorCode) -> &'static str {
    match code {
        RDKafkaErrorCode::InvalidReplicationFactor => {
            "; there are too few brokers: set --replication-factor"
        }
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed => {
            "; this user lacks the permission: grant it, or connect as another user with --sasl-username"
        }
        RDKafkaErrorCode::TopicDeletionDisabled => "; set delete.topic.enable=true on the brokers",
        RDKafkaErrorCode::PolicyViolation => {
            "; the cluster's policy forbids such a topic: ask its administrator to create it"
        }
        _ => "",
    }
}
