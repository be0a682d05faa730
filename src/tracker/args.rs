//! Flags of `sundown tracker`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::admin::AdminArgs;
use crate::kafka::group::GroupProtocol;
use crate::kafka::topics::ClockSource;
use crate::kafka::transaction::delivery::Delivery;
use crate::memory;
use crate::session::Span;
use crate::session::attributes::MAX_ATTRIBUTE_BYTES;
use crate::session_lookup::AdminTokenArgs;
use crate::tracker::routing::RoutingMode;
use crate::wire::duration;
use crate::wire::event::DecodeLimits;
use crate::wire::routing::{Routing, RoutingKey};

/// Flags of `sundown tracker`.
#[derive(Args, Clone, Debug)]
pub struct TrackerArgs {
    /// YAML file of SessionPolicy documents to use instead of the policy topic. Edits take
    /// effect without a restart.
    #[arg(long, env = "SUNDOWN_POLICIES", value_name = "FILE")]
    pub policies: Option<PathBuf>,

    /// Idle timeout of sessions that match no policy.
    #[arg(long, env = "SUNDOWN_IDLE_TIMEOUT", default_value = "1h", value_name = "DURATION", value_parser = positive)]
    pub idle_timeout: Span,

    /// Absolute timeout of sessions that match no policy. Without it, an active session
    /// never times out.
    #[arg(long, env = "SUNDOWN_ABSOLUTE_TIMEOUT", value_name = "DURATION", value_parser = positive)]
    pub absolute_timeout: Option<Span>,

    /// How long past a session's deadline to wait for late activity that happened before
    /// it.
    #[arg(long, env = "SUNDOWN_ALLOWED_LATENESS", default_value = "5s", value_name = "DURATION", value_parser = duration::parse)]
    pub allowed_lateness: Span,

    /// How far an event's timestamp may be ahead of its record's Kafka timestamp. Beyond
    /// this, the tracker uses the record's timestamp.
    #[arg(long, env = "SUNDOWN_MAX_FUTURE_SKEW", default_value = "60s", value_name = "DURATION", value_parser = duration::parse)]
    pub max_future_skew: Span,

    /// How much older than its record's Kafka timestamp an event may be. Older events go to the
    /// dead-letter topic.
    #[arg(long, env = "SUNDOWN_MAX_EVENT_AGE", default_value = "7d", value_name = "DURATION", value_parser = positive)]
    pub max_event_age: Span,

    /// Maximum size of an event's attributes, names and values together. Beyond this, the
    /// largest attributes are dropped and counted.
    #[arg(
        long,
        env = "SUNDOWN_MAX_ATTRIBUTES",
        default_value_t = 1024,
        value_name = "BYTES",
        value_parser = max_attributes
    )]
    pub max_attributes: usize,

    /// How long after a logout, revocation or rotation activity of the session counts as traffic
    /// under way and is dropped. Counts as the allowed lateness at least.
    #[arg(long, env = "SUNDOWN_END_GRACE", default_value = "30s", value_name = "DURATION", value_parser = duration::parse)]
    pub end_grace: Span,

    /// How long ended sessions are remembered, so that repeated ends and late events change
    /// nothing. Longer than the longest delay of a retried logout.
    #[arg(long, env = "SUNDOWN_REMEMBER_ENDINGS", default_value = "10m", value_name = "DURATION", value_parser = duration::parse)]
    pub remember_endings: Span,

    /// Maximum number of remembered endings per partition. Beyond it, the oldest are forgotten
    /// early, which is counted.
    #[arg(
        long,
        env = "SUNDOWN_MAX_REMEMBERED_ENDINGS",
        default_value_t = 1_000_000,
        value_name = "N"
    )]
    pub max_remembered_endings: usize,

    /// How far this machine's clock and the brokers' may differ. Beyond this, the tracker
    /// ends no sessions.
    #[arg(long, env = "SUNDOWN_MAX_CLOCK_SKEW", default_value = "10s", value_name = "DURATION", value_parser = positive)]
    pub max_clock_skew: Span,

    /// Accept a topic of process reports without LogAppendTime, so that this machine's clock is
    /// not compared with the brokers'. If it is wrong, sessions end early or late.
    #[arg(long, env = "SUNDOWN_TRUST_LOCAL_CLOCK", hide_short_help = true)]
    pub trust_local_clock: bool,

    /// How far a session's checkpoint record may lag behind its events. A longer slack
    /// means fewer writes, a shorter one a shorter replay after a crash.
    #[arg(long, env = "SUNDOWN_SLACK", default_value = "60s", value_name = "DURATION", value_parser = duration::parse)]
    pub slack: Span,

    /// Interval between commits.
    #[arg(long, env = "SUNDOWN_COMMIT_INTERVAL", default_value = "500ms", value_name = "DURATION", value_parser = positive)]
    pub commit_interval: Span,

    /// Which keys to trust: with `any`, events may be on any partition, and a partition's
    /// sessions end once all partitions have been read that far. With `keyed`, you vouch for
    /// the keys of all writers, and each partition proceeds by itself.
    #[arg(
        long,
        env = "SUNDOWN_ROUTING",
        default_value = "any",
        value_name = "MODE"
    )]
    pub routing: RoutingMode,

    /// The id by whose murmur2 hash events are distributed over the partitions. All trackers
    /// of a group need the same.
    #[arg(
        long,
        env = "SUNDOWN_ROUTING_KEY",
        default_value = "session_id",
        value_name = "ID"
    )]
    pub routing_key: RoutingKey,

    /// Delivery guarantee of outputs. Use at-least-once on Kafka services without
    /// transactions.
    #[arg(
        long,
        env = "SUNDOWN_DELIVERY",
        default_value = "exactly-once",
        value_name = "GUARANTEE"
    )]
    pub delivery: Delivery,

    /// Consumer group, without --topic-prefix.
    #[arg(
        long,
        env = "SUNDOWN_TRACKER_GROUP",
        default_value = "sundown-tracker",
        value_name = "GROUP"
    )]
    pub group: String,

    /// Rebalance protocol of the group; `consumer` (KIP-848) needs Kafka 4.
    #[arg(
        long,
        env = "SUNDOWN_GROUP_PROTOCOL",
        default_value = "classic",
        value_name = "PROTOCOL"
    )]
    pub group_protocol: GroupProtocol,

    /// How long the group waits for a member's heartbeat before it reassigns the member's
    /// partitions. With the group protocol `consumer`, the brokers set it.
    #[arg(long, env = "SUNDOWN_SESSION_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = positive)]
    pub session_timeout: Span,

    /// Maximum number of live sessions per partition. Events that would start another
    /// session go to the dead-letter topic; live sessions are not affected.
    #[arg(
        long,
        env = "SUNDOWN_MAX_SESSIONS",
        default_value_t = 10_000_000,
        value_name = "N"
    )]
    pub max_sessions: usize,

    /// Resident memory, such as 800Mi, at which no more is taken for sessions: events that
    /// would start one go to the dead-letter topic unless the place of an earlier one is free.
    /// Default: 80 % of the container's limit.
    #[arg(
        long,
        env = "SUNDOWN_MEMORY_LIMIT",
        value_name = "SIZE",
        value_parser = memory::parse_size
    )]
    pub memory_limit: Option<u64>,

    #[command(flatten)]
    pub admin: AdminArgs,

    #[command(flatten)]
    pub admin_token: AdminTokenArgs,
}

impl TrackerArgs {
    /// The limits of session events.
    #[must_use]
    pub fn decode_limits(&self) -> DecodeLimits {
        DecodeLimits {
            max_attribute_bytes: self.max_attributes,
            max_event_age: self.max_event_age,
        }
    }

    /// Returns the bound on resident memory in bytes; `None` if there is none.
    #[must_use]
    pub fn memory_limit(&self) -> Option<u64> {
        let default = || memory::container_limit().map(|limit| limit / 5 * 4);
        self.memory_limit.or_else(default)
    }

    /// Returns how events are distributed over this many partitions.
    #[must_use]
    pub fn routing(&self, partitions: i32) -> Routing {
        let key = self.routing_key;
        Routing { partitions, key }
    }

    /// The clock by which this machine's is checked.
    #[must_use]
    pub fn clock_source(&self) -> ClockSource {
        if self.trust_local_clock {
            ClockSource::Local
        } else {
            ClockSource::Brokers
        }
    }

    /// [`TrackerArgs::commit_interval`] as a [`Duration`].
    #[must_use]
    pub fn commit_interval(&self) -> Duration {
        let millis = u64::try_from(self.commit_interval.as_millis()).unwrap_or_default();
        Duration::from_millis(millis)
    }
}

fn max_attributes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if bytes <= MAX_ATTRIBUTE_BYTES => Ok(bytes),
        _ => Err(format!("must be a number from 0 to {MAX_ATTRIBUTE_BYTES}")),
    }
}

fn positive(text: &str) -> Result<Span, String> {
    match duration::parse(text) {
        Ok(Span::ZERO) => Err("must be more than zero".to_owned()),
        result => result.map_err(|error| error.to_string()),
    }
}
