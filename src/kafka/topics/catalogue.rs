//! The specification of each topic.

use super::state::ExistingTopics;
use super::state::TopicState;
use crate::kafka::topic_names::Topics;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const MIB: i64 = 1024 * 1024;

/// Partitions of a new installation if `--partitions` is not set.
const DEFAULT_PARTITIONS: i32 = 3;

/// The specification of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// The full name, prefix included.
    pub name: String,
    /// The number of partitions; at least 1.
    pub partitions: i32,
    /// The properties that differ from the brokers' defaults.
    pub configs: Vec<ConfigSpec>,
}

/// The specification of a topic's property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigSpec {
    /// The name, such as `retention.ms`.
    pub key: &'static str,
    pub setting: Setting,
}

/// Required and default values of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// This value is required.
    Exactly(&'static str),
    /// `value` is the default; any value from `least` on is accepted, and so is -1, which
    /// means unlimited.
    AtLeast { value: i64, least: i64 },
    /// The default; operators may tune it.
    Default(&'static str),
}

impl Setting {
    /// The value for a new topic.
    #[must_use]
    pub fn value(self) -> String {
        match self {
            Self::Exactly(value) | Self::Default(value) => value.to_owned(),
            Self::AtLeast { value, .. } => value.to_string(),
        }
    }
}

/// The numbers of partitions of the partitioned topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Partitions of every topic but the checkpoint topic.
    pub partitions: i32,
    /// Partitions of the checkpoint topic, as many as `session_logs` has or will have: a
    /// session's checkpoint records are on the partition of its events.
    pub checkpoint: i32,
}

impl Layout {
    /// The layout of a new installation; three partitions unless `requested` is set.
    #[must_use]
    pub fn new(requested: Option<i32>) -> Self {
        let partitions = requested.unwrap_or(DEFAULT_PARTITIONS);
        Self {
            partitions,
            checkpoint: partitions,
        }
    }

    /// The layout that matches existing topics: as many partitions as `session_logs` has
    /// unless `requested` is set.
    #[must_use]
    pub fn beside(existing: &ExistingTopics, topics: &Topics, requested: Option<i32>) -> Self {
        let source = existing
            .get(&topics.session_logs)
            .map(TopicState::partition_count);
        let new = Self::new(requested.or(source));
        Self {
            checkpoint: source.unwrap_or(new.checkpoint),
            ..new
        }
    }
}

/// Every topic of an installation, `session_logs` first.
#[must_use]
pub fn catalogue(topics: &Topics, layout: Layout) -> Vec<TopicSpec> {
    let topic = |name: &String, partitions, configs| TopicSpec {
        name: name.clone(),
        partitions,
        configs,
    };
    let partitions = layout.partitions;
    vec![
        topic(&topics.session_logs, partitions, session_logs()),
        topic(&topics.session_logs_dlq, partitions, dead_letters()),
        topic(&topics.expired_sessions, partitions, retained(7 * DAY)),
        topic(&topics.expired_sessions_dlq, partitions, dead_letters()),
        topic(&topics.expiring_sessions, partitions, retained(DAY)),
        topic(&topics.checkpoint, layout.checkpoint, checkpoint()),
        // One partition: policies are few, and readers need all of them in one order.
        topic(&topics.policies, 1, vec![COMPACTED]),
        topic(&topics.processes, 1, processes()),
        topic(&topics.watermarks, 1, watermarks()),
        topic(&topics.audit, 1, audit()),
    ]
}

const COMPACTED: ConfigSpec = exactly("cleanup.policy", "compact");
const LOG_APPEND_TIME: ConfigSpec = exactly("message.timestamp.type", "LogAppendTime");

fn session_logs() -> Vec<ConfigSpec> {
    vec![
        exactly("cleanup.policy", "delete"),
        // Events that are deleted before a tracker reads them are lost activity: the default
        // covers trackers that are down for a weekend.
        at_least("retention.ms", 3 * DAY, DAY),
        // Brokers' clocks, which a tracker that is behind can rely on, unlike applications'.
        LOG_APPEND_TIME,
    ]
}

fn checkpoint() -> Vec<ConfigSpec> {
    vec![
        COMPACTED,
        // A restore reads everything that is not compacted yet. Compaction skips the active
        // segment, and the others below a ratio of garbage; Kafka's defaults of 1 GiB and
        // one half would make restores slow.
        default("segment.bytes", "67108864"),
        default("min.cleanable.dirty.ratio", "0.1"),
        // Tombstones stay this long after compaction, which bounds the duration of a restore
        // that misses none; with Kafka's default of a day, millions would accumulate.
        default("delete.retention.ms", "600000"),
    ]
}

fn processes() -> Vec<ConfigSpec> {
    vec![
        exactly("cleanup.policy", "compact,delete"),
        // The last report of a process is deleted a day after the process has ended.
        at_least("retention.ms", DAY, HOUR),
        // Compaction and deletion need closed segments, which would take weeks to fill.
        default("segment.ms", "600000"),
        // Charts show the reports of the last hour.
        default("min.compaction.lag.ms", "3600000"),
        // Acknowledgements carry the brokers' time, which processes compare with their clock.
        LOG_APPEND_TIME,
    ]
}

fn watermarks() -> Vec<ConfigSpec> {
    vec![
        COMPACTED,
        // Every tracker writes a record with each commit, and reads the topic from its first record
        // when it starts.
        default("segment.bytes", "16777216"),
        default("segment.ms", "600000"),
        default("min.cleanable.dirty.ratio", "0.1"),
        default("delete.retention.ms", "600000"),
    ]
}

fn audit() -> Vec<ConfigSpec> {
    vec![
        exactly("cleanup.policy", "delete"),
        at_least("retention.ms", 90 * DAY, DAY),
    ]
}

fn dead_letters() -> Vec<ConfigSpec> {
    vec![
        exactly("cleanup.policy", "delete"),
        at_least("retention.ms", 14 * DAY, 14 * DAY),
        // A record of the default maximum size (1 MiB) and the headers of a dead letter.
        at_least("max.message.bytes", 2 * MIB, MIB + MIB / 16),
    ]
}

fn retained(retention: i64) -> Vec<ConfigSpec> {
    vec![
        exactly("cleanup.policy", "delete"),
        at_least("retention.ms", retention, retention),
    ]
}

const fn exactly(key: &'static str, value: &'static str) -> ConfigSpec {
    let setting = Setting::Exactly(value);
    ConfigSpec { key, setting }
}

const fn at_least(key: &'static str, value: i64, least: i64) -> ConfigSpec {
    let setting = Setting::AtLeast { value, least };
    ConfigSpec { key, setting }
}

const fn default(key: &'static str, value: &'static str) -> ConfigSpec {
    let setting = Setting::Default(value);
    ConfigSpec { key, setting }
}
