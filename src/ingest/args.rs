//! Flags of `sundown ingest`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::http::args::HttpArgs;
use crate::admin::AdminArgs;
use crate::kafka::group::GroupProtocol;
use crate::kafka::transaction::delivery::Delivery;
use crate::session::Span;
use crate::source::registry::credentials::RegistryCredentialsArgs;
use crate::wire::duration;

/// Flags of `sundown ingest`.
#[derive(Args, Clone, Debug)]
pub struct IngestArgs {
    /// YAML file of SessionSource documents, or a directory of such files. All processes of a
    /// group need the same sources. Without it, the sources of the policy topic, which `sundown
    /// source apply` and the controller write; changes apply within seconds.
    #[arg(long, env = "SUNDOWN_SOURCES", value_name = "PATH")]
    pub sources: Option<PathBuf>,

    /// Prefix of the consumer groups, without --topic-prefix. The group of a topic is
    /// PREFIX.TOPIC.
    #[arg(
        long,
        env = "SUNDOWN_INGEST_GROUP",
        default_value = "sundown-ingest",
        value_name = "PREFIX"
    )]
    pub group: String,

    /// Rebalance protocol of the groups; `consumer` (KIP-848) needs Kafka 4.
    #[arg(
        long,
        env = "SUNDOWN_GROUP_PROTOCOL",
        default_value = "classic",
        value_name = "PROTOCOL"
    )]
    pub group_protocol: GroupProtocol,

    /// How long a group waits for a member's heartbeat before it reassigns the member's
    /// partitions. With the group protocol `consumer`, the brokers set it.
    #[arg(long, env = "SUNDOWN_SESSION_TIMEOUT", default_value = "10s", value_name = "DURATION", value_parser = duration::parse)]
    pub session_timeout: Span,

    /// Interval between commits.
    #[arg(long, env = "SUNDOWN_COMMIT_INTERVAL", default_value = "250ms", value_name = "DURATION", value_parser = duration::parse)]
    pub commit_interval: Span,

    /// Delivery guarantee of events. Use at-least-once on Kafka services without transactions.
    #[arg(
        long,
        env = "SUNDOWN_DELIVERY",
        default_value = "exactly-once",
        value_name = "GUARANTEE"
    )]
    pub delivery: Delivery,

    /// How far this machine's clock and the brokers' may differ. Beyond this, no watermark
    /// advances, and trackers end no sessions.
    #[arg(long, env = "SUNDOWN_MAX_CLOCK_SKEW", default_value = "10s", value_name = "DURATION", value_parser = duration::parse)]
    pub max_clock_skew: Span,

    #[command(flatten)]
    pub registries: RegistryCredentialsArgs,

    #[command(flatten)]
    pub http: HttpArgs,

    #[command(flatten)]
    pub admin: AdminArgs,
}

/// A duration of the command line, which is never negative.
pub(super) fn std_duration(span: Span) -> Duration {
    Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or_default())
}
