//! What each topic has to be like.

use super::state::ExistingTopics;
use super::state::TopicState;
use crate::kafka::topic_names::Topics;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const MIB: i64 = 1024 * 1024;

/// Partitions of a new installation, unless its operator says otherwise.
const DEFAULT_PARTITIONS: i32 = 3;

/// A topic as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// Its name, prefix included.
    pub name: String,
    /// How many partitions it has; at least 1.
    pub partitions: i32,
    /// Its configuration; what is not listed is the broker's default.
    pub configs: Vec<ConfigSpec>,
}

/// One property of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigSpec {
    /// Kafka's name for it, as in `retention.ms`.
    pub key: &'static str,
    /// What it has to be.
    pub setting: Setting,
}

/// What a property has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// This and nothing else.
    Exactly(&'static str),
    /// Made `value`; anything from `least` on will do, and so will -1, Kafka's word for
    /// "without limit".
    AtLeast {
        /// What a new topic gets.
        value: i64,
        /// The smallest that will do.
        least: i64,
    },
    /// What a new topic gets; operators are free to tune it.
    Usually(&'static str),
}

impl Setting {
    /// What a new topic gets.
    #[must_use]
    pub fn value(self) -> String {
        match self {
            Self::Exactly(value) | Self::Usually(value) => value.to_owned(),
            Self::AtLeast { value, .. } => value.to_string(),
        }
    }
}

/// How many partitions the topics have that have more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Those of all topics but the next.
    pub partitions: i32,
    /// As many as `session_logs` has or will have: a session's checkpoint records are on
    /// the partition of its events.
    pub checkpoint: i32,
}

impl Layout {
    /// The layout of a new installation; three partitions if nothing else is `asked` for.
    #[must_use]
    pub fn new(asked: Option<i32>) -> Self {
        let partitions = asked.unwrap_or(DEFAULT_PARTITIONS);
        Self {
            partitions,
            checkpoint: partitions,
        }
    }

    /// The layout that goes with what exists: if nothing is `asked` for, all topics get
    /// as many partitions as `session_logs` has.
    #[must_use]
    pub fn beside(existing: &ExistingTopics, topics: &Topics, asked: Option<i32>) -> Self {
        let source = existing
            .get(&topics.session_logs)
            .map(TopicState::partition_count);
        let new = Self::new(asked.or(source));
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
    let many = layout.partitions;
    vec![
        topic(&topics.session_logs, many, session_logs()),
        topic(&topics.session_logs_dlq, many, dead_letters()),
        topic(&topics.expired_sessions, many, deleted_after(7 * DAY)),
        topic(&topics.expired_sessions_dlq, many, dead_letters()),
        topic(&topics.expiring_sessions, many, deleted_after(DAY)),
        topic(&topics.checkpoint, layout.checkpoint, checkpoint()),
        // One partition: policies are few, and readers want them all, in one order.
        topic(&topics.policies, 1, vec![COMPACTED]),
        topic(&topics.processes, 1, processes()),
    ]
}

const COMPACTED: ConfigSpec = exactly("cleanup.policy", "compact");
const LOG_APPEND_TIME: ConfigSpec = exactly("message.timestamp.type", "LogAppendTime");

fn session_logs() -> Vec<ConfigSpec> {
    vec![
        exactly("cleanup.policy", "delete"),
        // Events deleted before a tracker read them are activity that was never seen:
        // enough for a weekend of trackers that are down.
        at_least("retention.ms", 3 * DAY, DAY),
        // Brokers' clocks, not applications': a tracker that is behind may go by them.
        LOG_APPEND_TIME,
    ]
}

fn checkpoint() -> Vec<ConfigSpec> {
    vec![
        COMPACTED,
        // A restore reads everything that compaction has not got to yet. It never gets
        // to the newest segment, and to the others only from a share of garbage on;
        // Kafka's own 1 GiB and one half would make restores long.
        usually("segment.bytes", "67108864"),
        usually("min.cleanable.dirty.ratio", "0.1"),
        // How long a tombstone stays after compaction, hence how long a restore may take
        // without missing one; in Kafka's own day, millions would pile up.
        usually("delete.retention.ms", "600000"),
    ]
}

fn processes() -> Vec<ConfigSpec> {
    vec![
        exactly("cleanup.policy", "compact,delete"),
        // What a process reported last goes a day after its end.
        at_least("retention.ms", DAY, HOUR),
        // Both need closed segments; this topic would take weeks to fill Kafka's own.
        usually("segment.ms", "600000"),
        // Charts of the last hour need more than the last report.
        usually("min.compaction.lag.ms", "3600000"),
        // Reports come back with the brokers' time, to hold the machine's clock against.
        LOG_APPEND_TIME,
    ]
}

fn dead_letters() -> Vec<ConfigSpec> {
    vec![
        exactly("cleanup.policy", "delete"),
        at_least("retention.ms", 14 * DAY, 14 * DAY),
        // A record as large as brokers take by default (1 MiB), and the headers that say
        // why it is here.
        at_least("max.message.bytes", 2 * MIB, MIB + MIB / 16),
    ]
}

fn deleted_after(retention: i64) -> Vec<ConfigSpec> {
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

const fn usually(key: &'static str, value: &'static str) -> ConfigSpec {
    let setting = Setting::Usually(value);
    ConfigSpec { key, setting }
}
