//! Checks the topics that a role needs before it starts.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::admin::TopicAdmin;
use super::error::TopicError;
use super::state::ExistingTopics;
use super::state::{TimestampType, TopicState};
use crate::health::Health;
use crate::kafka::topic_names::Topics;

/// Interval between checks while topics are missing.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// The topic of session events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTopic {
    /// The number of partitions, which is also that of the checkpoint topic.
    pub partitions: i32,
    /// The clock of its record timestamps.
    pub timestamps: TimestampType,
}

/// Returns the topics of these names.
///
/// # Errors
/// [`TopicError::Missing`] unless all of them exist; [`TopicError::Unreachable`] if no broker
/// responds.
pub async fn require(admin: &TopicAdmin, names: &[&str]) -> Result<ExistingTopics, TopicError> {
    let existing = admin.existing(names).await?;
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !existing.contains_key(**name))
        .map(|name| (*name).to_owned())
        .collect();
    if missing.is_empty() {
        Ok(existing)
    } else {
        Err(TopicError::Missing { names: missing })
    }
}

/// Repeats `check` until brokers respond and its topics exist: topics and permissions may be
/// created while processes start. Until then `health` is not ready. Returns `None` if `stop`
/// is cancelled.
///
/// # Errors
/// [`TopicError::PartitionMismatch`], and others that do not resolve by waiting.
pub async fn wait_for_topics<T, Check>(
    health: &Health,
    stop: &CancellationToken,
    check: impl Fn() -> Check,
) -> Result<Option<T>, TopicError>
where
    Check: Future<Output = Result<T, TopicError>>,
{
    let mut logged = String::new();
    loop {
        match check().await {
            Err(error @ (TopicError::Unreachable { .. } | TopicError::Missing { .. })) => {
                let reason = error.to_string();
                health.set_not_ready("kafka", format!("waiting for topics: {reason}"));
                if reason != logged {
                    tracing::warn!(error = reason, "cannot find the topics; retrying");
                    logged = reason;
                }
            }
            result => {
                health.set_ready("kafka");
                return result.map(Some);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY_INTERVAL) => {}
            () = stop.cancelled() => return Ok(None),
        }
    }
}

/// Checks that the topics of a tracker and `additional` exist, and that the source topic and
/// the checkpoint topic have equally many partitions.
///
/// # Errors
/// Those of [`require`]; [`TopicError::PartitionMismatch`] if the numbers differ.
pub async fn require_for_tracker(
    admin: &TopicAdmin,
    topics: &Topics,
    additional: Option<&str>,
) -> Result<SourceTopic, TopicError> {
    let names: [&str; 6] = [
        &topics.session_logs,
        &topics.session_logs_dlq,
        &topics.expired_sessions,
        &topics.expiring_sessions,
        &topics.checkpoint,
        &topics.processes,
    ];
    let names: Vec<&str> = names.into_iter().chain(additional).collect();
    let existing = require(admin, &names).await?;
    let source = &existing[&topics.session_logs];
    if source.configs.is_none() {
        tracing::warn!(
            topic = topics.session_logs,
            "cannot read the topic's message.timestamp.type; no idle session ends while the tracker \
             catches up: if this user lacks DescribeConfigs on the topic, grant it"
        );
    }
    let partitions = source.partition_count();
    let checkpoint_partitions = TopicState::partition_count(&existing[&topics.checkpoint]);
    if checkpoint_partitions != partitions {
        return Err(TopicError::PartitionMismatch {
            checkpoint: topics.checkpoint.clone(),
            checkpoint_partitions,
            source_topic: topics.session_logs.clone(),
            source_partitions: partitions,
        });
    }
    Ok(SourceTopic {
        partitions,
        timestamps: source.timestamps(),
    })
}
