//! What has to be there before a role starts.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::admin::TopicAdmin;
use super::error::TopicError;
use super::state::ExistingTopics;
use super::state::{TimestampType, TopicState};
use crate::health::Health;
use crate::kafka::topic_names::Topics;

/// How long to wait before asking again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// What the tracker has to know of the topic that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceTopic {
    /// How many partitions it has, and the checkpoint topic with it.
    pub partitions: i32,
    /// Whose clock its record timestamps show.
    pub timestamps: TimestampType,
}

/// The topics of these names.
///
/// # Errors
/// [`TopicError::Missing`] unless all of them exist; [`TopicError::Unreachable`] if there
/// is nobody to ask.
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

/// What `ask` finds, once there is somebody to ask and the topics are there: whoever sets up an
/// installation makes topics and permissions while its processes start. Until then `health` says
/// what is wrong. `None` if told to stop before.
///
/// # Errors
/// [`TopicError::PartitionMismatch`], and whatever else waiting would not mend.
pub async fn wait_for_topics<T, Answer>(
    health: &Health,
    stop: &CancellationToken,
    ask: impl Fn() -> Answer,
) -> Result<Option<T>, TopicError>
where
    Answer: Future<Output = Result<T, TopicError>>,
{
    let mut told = String::new();
    loop {
        match ask().await {
            Err(error @ (TopicError::Unreachable { .. } | TopicError::Missing { .. })) => {
                let reason = error.to_string();
                health.set_not_ready("kafka", format!("looking for the topics: {reason}"));
                if reason != told {
                    tracing::warn!(error = reason, "trying again");
                    told = reason;
                }
            }
            answer => {
                health.set_ready("kafka");
                return answer.map(Some);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(ASK_AGAIN) => {}
            () = stop.cancelled() => return Ok(None),
        }
    }
}

/// Checks that the topics of a tracker exist, `more` among them, and that the checkpoint
/// topic fits the source topic.
///
/// # Errors
/// As of [`require`]; [`TopicError::PartitionMismatch`] if the two differ in partitions.
pub async fn require_for_tracker(
    admin: &TopicAdmin,
    topics: &Topics,
    more: Option<&str>,
) -> Result<SourceTopic, TopicError> {
    let names: [&str; 6] = [
        &topics.session_logs,
        &topics.session_logs_dlq,
        &topics.expired_sessions,
        &topics.expiring_sessions,
        &topics.checkpoint,
        &topics.processes,
    ];
    let names: Vec<&str> = names.into_iter().chain(more).collect();
    let existing = require(admin, &names).await?;
    let source = &existing[&topics.session_logs];
    if source.configs.is_none() {
        tracing::warn!(
            topic = topics.session_logs,
            "the brokers do not tell whose clock the topic's timestamps show, so that nothing idle ends while \
             the tracker catches up: if this user lacks DescribeConfigs on it, grant it"
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
