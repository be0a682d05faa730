//! The tracker's flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::admin::AdminArgs;
use crate::kafka::group::GroupProtocol;
use crate::session::Span;
use crate::session_lookup::AdminTokenArgs;
use crate::tracker::delivery::Delivery;
use crate::wire::duration;

/// Flags of `sundown tracker`.
#[derive(Args, Clone, Debug)]
pub struct TrackerArgs {
    /// YAML file of SessionPolicy documents, to go by instead of the policy topic; edits
    /// take effect without a restart.
    #[arg(long, env = "SUNDOWN_POLICIES", value_name = "FILE")]
    pub policies: Option<PathBuf>,

    /// The longest time without activity, for sessions that no policy matches.
    #[arg(long, env = "SUNDOWN_IDLE_TIMEOUT", default_value = "1h", value_name = "DURATION", value_parser = positive)]
    pub idle_timeout: Span,

    /// The longest time since the start, for sessions that no policy matches; without
    /// it, an active session may last for ever.
    #[arg(long, env = "SUNDOWN_ABSOLUTE_TIMEOUT", value_name = "DURATION", value_parser = positive)]
    pub absolute_timeout: Option<Span>,

    /// How long after its deadline a session may still be saved by activity that
    /// happened before it and came late.
    #[arg(long, env = "SUNDOWN_ALLOWED_LATENESS", default_value = "5s", value_name = "DURATION", value_parser = duration::parse)]
    pub allowed_lateness: Span,

    /// How far an event's time may lie ahead of its record's Kafka timestamp; beyond
    /// it, the record's counts.
    #[arg(long, env = "SUNDOWN_MAX_FUTURE_SKEW", default_value = "60s", value_name = "DURATION", value_parser = duration::parse)]
    pub max_future_skew: Span,

    /// How far this machine's clock and the brokers' may be apart; beyond it, nothing
    /// is ended.
    #[arg(long, env = "SUNDOWN_MAX_CLOCK_SKEW", default_value = "10s", value_name = "DURATION", value_parser = positive)]
    pub max_clock_skew: Span,

    /// How long a session's checkpoint record may be out of date. Longer: fewer writes;
    /// shorter: less to replay after a crash.
    #[arg(long, env = "SUNDOWN_SLACK", default_value = "60s", value_name = "DURATION", value_parser = duration::parse)]
    pub slack: Span,

    /// How often to commit.
    #[arg(long, env = "SUNDOWN_COMMIT_INTERVAL", default_value = "500ms", value_name = "DURATION", value_parser = positive)]
    pub commit_interval: Span,

    /// What a crash can do to outputs. At-least-once is for services without
    /// transactions.
    #[arg(
        long,
        env = "SUNDOWN_DELIVERY",
        default_value = "exactly-once",
        value_name = "GUARANTEE"
    )]
    pub delivery: Delivery,

    /// The consumer group; --topic-prefix is put before it.
    #[arg(
        long,
        env = "SUNDOWN_TRACKER_GROUP",
        default_value = "sundown-tracker",
        value_name = "NAME"
    )]
    pub group: String,

    /// How the group rebalances; `consumer` is KIP-848 and needs Kafka 4.
    #[arg(
        long,
        env = "SUNDOWN_GROUP_PROTOCOL",
        default_value = "classic",
        value_name = "PROTOCOL"
    )]
    pub group_protocol: GroupProtocol,

    /// How long the group waits for a silent member before it gives its partitions to
    /// others. With the group protocol `consumer`, the brokers decide.
    #[arg(long, env = "SUNDOWN_SESSION_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = positive)]
    pub session_timeout: Span,

    /// The most sessions that one partition may hold. Events that would start another
    /// go to the dead-letter topic; running sessions are not touched.
    #[arg(
        long,
        env = "SUNDOWN_MAX_SESSIONS",
        default_value_t = 10_000_000,
        value_name = "N"
    )]
    pub max_sessions: usize,

    /// Where the admin port is.
    #[command(flatten)]
    pub admin: AdminArgs,

    /// What it wants to know before it tells of sessions.
    #[command(flatten)]
    pub admin_token: AdminTokenArgs,
}

impl TrackerArgs {
    /// [`TrackerArgs::commit_interval`] as the standard library has it.
    #[must_use]
    pub fn commit_interval(&self) -> Duration {
        let millis = u64::try_from(self.commit_interval.as_millis()).unwrap_or_default();
        Duration::from_millis(millis)
    }
}

fn positive(text: &str) -> Result<Span, String> {
    match duration::parse(text) {
        Ok(Span::ZERO) => Err("must be more than zero".to_owned()),
        result => result.map_err(|error| error.to_string()),
    }
}
