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

/// The clock by which a tracker checks its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSource {
    /// The brokers' clocks, in the timestamps of process reports.
    Brokers,
    /// None: the machine's clock is trusted.
    Local,
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

/// Returns the topics of these names, after checking those settings that no role can do
/// without.
///
/// # Errors
/// Those of [`require`]; [`TopicError::Misconfigured`].
pub async fn require_for_role(
    admin: &TopicAdmin,
    topics: &Topics,
    names: &[&str],
) -> Result<ExistingTopics, TopicError> {
    let existing = require(admin, names).await?;
    let checked = [&topics.checkpoint, &topics.policies, &topics.watermarks];
    warn_of_unknown_settings(&existing, &checked);
    check_compaction(&existing, topics)?;
    Ok(existing)
}

/// Repeats `check` until brokers respond and its topics exist: topics and permissions may be
/// created while processes start. Until then `health` is not ready. Returns `None` if `stop`
/// is cancelled.
///
/// # Errors
/// [`TopicError::PartitionMismatch`], [`TopicError::Misconfigured`] and others that do not
/// resolve by waiting.
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

/// Checks that the topics of a tracker exist with settings that keep its promises, and that the
/// source topic and the checkpoint topic have equally many partitions.
///
/// # Errors
/// Those of [`require_for_role`]; [`TopicError::PartitionMismatch`] if the numbers differ.
pub async fn require_for_tracker(
    admin: &TopicAdmin,
    topics: &Topics,
    clock_source: ClockSource,
) -> Result<SourceTopic, TopicError> {
    let names: [&str; 8] = [
        &topics.session_logs,
        &topics.session_logs_dlq,
        &topics.expired_sessions,
        &topics.expiring_sessions,
        &topics.checkpoint,
        &topics.processes,
        &topics.policies,
        &topics.watermarks,
    ];
    let existing = require_for_role(admin, topics, &names).await?;
    if clock_source == ClockSource::Brokers {
        warn_of_unknown_settings(&existing, &[&topics.processes]);
        check_timestamps(&existing, topics)?;
    }
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

/// Checks that the topics of an ingest process exist with settings that keep its promises.
///
/// # Errors
/// Those of [`require_for_role`].
pub async fn require_for_ingest(admin: &TopicAdmin, topics: &Topics) -> Result<(), TopicError> {
    let names: [&str; 5] = [
        &topics.session_logs,
        &topics.session_logs_dlq,
        &topics.processes,
        &topics.policies,
        &topics.watermarks,
    ];
    let existing = require_for_role(admin, topics, &names).await?;
    warn_of_unknown_settings(&existing, &[&topics.processes]);
    check_timestamps(&existing, topics)
}

fn warn_of_unknown_settings(existing: &ExistingTopics, checked: &[&String]) {
    let unknown = checked.iter().copied().map(String::as_str).filter(|name| {
        let state = existing.get(*name);
        state.is_some_and(|state| state.configs.is_none())
    });
    let unknown: Vec<_> = unknown.collect();
    if !unknown.is_empty() {
        tracing::warn!(
            topics = unknown.join(", "),
            "cannot read the topics' cleanup.policy and message.timestamp.type, so they are not \
             checked: if this user lacks DescribeConfigs on the topics, grant it"
        );
    }
}

/// Topics from which the latest record of each key is read, however old it is.
fn check_compaction(existing: &ExistingTopics, topics: &Topics) -> Result<(), TopicError> {
    let checks = [
        (
            &topics.checkpoint,
            "otherwise the state of idle sessions is deleted",
        ),
        (&topics.policies, "otherwise old policies are deleted"),
        (
            &topics.watermarks,
            "otherwise the watermarks of idle processes are deleted",
        ),
    ];
    for (name, reason) in checks {
        check(existing, name, "cleanup.policy", "compact", reason, "")?;
    }
    Ok(())
}

fn check_timestamps(existing: &ExistingTopics, topics: &Topics) -> Result<(), TopicError> {
    check(
        existing,
        &topics.processes,
        "message.timestamp.type",
        "LogAppendTime",
        "otherwise trackers and ingest processes cannot compare their clocks with the brokers'",
        ", or pass --trust-local-clock to trackers",
    )
}

/// Checks a property of a topic, if both are known.
fn check(
    existing: &ExistingTopics,
    name: &str,
    property: &'static str,
    expected: &'static str,
    reason: &'static str,
    alternative: &'static str,
) -> Result<(), TopicError> {
    let state = existing.get(name);
    match state.and_then(|state| state.config(property)) {
        Some(actual) if actual != expected => Err(TopicError::Misconfigured {
            topic: name.to_owned(),
            property,
            actual: actual.to_owned(),
            expected,
            reason,
            alternative,
        }),
        _ => Ok(()),
    }
}
