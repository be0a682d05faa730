//! What can be wrong with topics.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Why topics cannot be used, looked at, made or deleted.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The client's configuration is not one that librdkafka accepts.
    #[error("the Kafka client cannot be set up: {0}; check -X and the --tls and --sasl flags")]
    Client(KafkaError),
    /// No broker answered in time.
    #[error("Kafka at {bootstrap} cannot be asked: {reason}: {why}")]
    Unreachable {
        /// Whom we asked.
        bootstrap: Box<str>,
        /// What the client says.
        reason: KafkaError,
        /// What is known of the connection, and the remedy.
        why: Box<str>,
    },
    /// There are fewer brokers than replicas of each partition are asked for.
    #[error(
        "there are {brokers} brokers, too few for {replicas} replicas of each partition: set --replication-factor; nothing has been changed"
    )]
    TooFewBrokers {
        /// How many there are.
        brokers: usize,
        /// How many replicas.
        replicas: i32,
    },
    /// Topics that are needed are not there.
    #[error(
        "missing topics: {}; create them with: sundown topics create. If they exist, this user may not see them: grant it Read or Write on them",
        names.join(", ")
    )]
    Missing {
        /// Their names.
        names: Vec<String>,
    },
    /// The checkpoint topic does not fit the source topic.
    #[error(
        "{checkpoint} has {checkpoint_partitions} partitions and {source_topic} has {source_partitions}, but a session's checkpoint must be on the partition of its events; add partitions to the one that has fewer, or start from nothing with: sundown topics reset"
    )]
    PartitionMismatch {
        /// The checkpoint topic.
        checkpoint: String,
        /// How many partitions it has.
        checkpoint_partitions: i32,
        /// The topic of session events.
        source_topic: String,
        /// How many partitions that has.
        source_partitions: i32,
    },
    /// The cluster refused to create or delete a topic.
    #[error("{topic} cannot be {what}: {code}{}", remedy(*code))]
    Refused {
        /// Which topic.
        topic: String,
        /// `created` or `deleted`.
        what: &'static str,
        /// What the broker answered.
        code: RDKafkaErrorCode,
    },
    /// The cluster agreed to a change that has not come about in time.
    #[error("{} not {what} after {seconds} s, though Kafka agreed; see the brokers' logs, then run the command again", names.join(", "))]
    NotSettled {
        /// The topics that wait.
        names: Vec<String>,
        /// `created` or `deleted`.
        what: &'static str,
        /// How long we waited.
        seconds: u64,
    },
}

fn remedy(code: RDKafkaErrorCode) -> &'static str {
    match code {
        RDKafkaErrorCode::InvalidReplicationFactor => {
            "; there are not that many brokers: set --replication-factor"
        }
        RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::ClusterAuthorizationFailed => {
            "; this user lacks the right: grant it, or connect as another with --sasl-username"
        }
        RDKafkaErrorCode::TopicDeletionDisabled => "; set delete.topic.enable=true on the brokers",
        RDKafkaErrorCode::PolicyViolation => {
            "; the cluster's policy forbids such a topic: ask its operator to create it"
        }
        _ => "",
    }
}
