//! Flags of `sundown controller`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::admin::AdminArgs;
use crate::kafka::args::TrackerGroupArgs;
use crate::session_lookup::AdminTokenArgs;
use crate::wire::duration;
use crate::wire::routing::RoutingKey;

/// Accepted lease durations, in milliseconds. Below, a slow response of the API server
/// costs the leadership; above, failover takes too long.
const LEASE_DURATION_RANGE: std::ops::RangeInclusive<i64> = 5_000..=300_000;
/// Accepted intervals between lag measurements, in milliseconds.
const LAG_INTERVAL_RANGE: std::ops::RangeInclusive<i64> = 1_000..=10_000;

/// Flags of `sundown controller`.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// Namespace to watch for session policies and sources; can be repeated. Defaults to the
    /// controller's own namespace.
    #[arg(
        long = "namespace",
        env = "SUNDOWN_NAMESPACES",
        value_name = "NAMESPACE",
        value_delimiter = ','
    )]
    pub namespaces: Vec<String>,

    /// Watch all namespaces.
    #[arg(
        long,
        env = "SUNDOWN_ALL_NAMESPACES",
        conflicts_with = "namespaces",
        hide_env_values = true
    )]
    pub all_namespaces: bool,

    /// Label selector of the policies and sources to use, such as `sundown.dev/installation=eu`.
    /// Defaults to all. Releases with different topic prefixes distinguish theirs with it.
    #[arg(long, env = "SUNDOWN_POLICY_SELECTOR", value_name = "SELECTOR")]
    pub policy_selector: Option<String>,

    /// YAML file of limits on the policies of namespaces: what they must match, the highest
    /// priority, and the actions that they may name.
    #[arg(long, env = "SUNDOWN_NAMESPACE_LIMITS", value_name = "FILE")]
    pub namespace_limits: Option<PathBuf>,

    /// The `--routing-key` of the trackers: policies with `maxSessions` need `user_id`.
    #[arg(
        long,
        env = "SUNDOWN_ROUTING_KEY",
        default_value = "session_id",
        value_name = "ID"
    )]
    pub routing_key: RoutingKey,

    /// Lease for leader election. All controllers that write to the same topics must use
    /// the same Lease.
    #[arg(
        long,
        env = "SUNDOWN_LEASE_NAME",
        default_value = "sundown-controller",
        value_name = "NAME"
    )]
    pub lease_name: String,

    /// Namespace of the Lease. Defaults to the controller's own namespace.
    #[arg(long, env = "SUNDOWN_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// How long after the leader's last renewal another controller takes over, from 5 s to
    /// 5 min.
    #[arg(long, env = "SUNDOWN_LEASE_DURATION", default_value = "15s", value_name = "DURATION", value_parser = lease_duration)]
    pub lease_duration: Duration,

    #[command(flatten)]
    pub trackers: TrackerGroupArgs,

    /// Consumer group of the handlers, without --topic-prefix, for lag measurement.
    #[arg(
        long,
        env = "SUNDOWN_HANDLER_GROUP",
        default_value = "sundown-handler",
        value_name = "GROUP"
    )]
    pub handler_group: String,

    /// Prefix of the consumer groups of ingest, `GROUP.TOPIC`, without --topic-prefix, for lag
    /// measurement.
    #[arg(
        long,
        env = "SUNDOWN_INGEST_GROUP",
        default_value = "sundown-ingest",
        value_name = "GROUP"
    )]
    pub ingest_group: String,

    /// Interval between lag measurements, from 1 s to 10 s.
    #[arg(long, env = "SUNDOWN_LAG_INTERVAL", default_value = "5s", value_name = "DURATION", value_parser = lag_interval)]
    pub lag_interval: Duration,

    /// Hold changes of policies that would end more than this share of the live sessions within
    /// a minute, and at least 1000 of them, until an annotation of the policy confirms them. 100
    /// holds none.
    #[arg(long, env = "SUNDOWN_MAX_MASS_ENDING", default_value = "50", value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub max_mass_ending: u8,

    #[command(flatten)]
    pub admin_token: AdminTokenArgs,

    #[command(flatten)]
    pub admin: AdminArgs,
}

fn lease_duration(text: &str) -> Result<Duration, String> {
    within(text, LEASE_DURATION_RANGE, "from 5s to 5m")
}

fn lag_interval(text: &str) -> Result<Duration, String> {
    within(text, LAG_INTERVAL_RANGE, "from 1s to 10s")
}

fn within(
    text: &str,
    range: std::ops::RangeInclusive<i64>,
    words: &str,
) -> Result<Duration, String> {
    let span = duration::parse(text).map_err(|error| error.to_string())?;
    let millis = u64::try_from(span.as_millis()).unwrap_or_default();
    if range.contains(&span.as_millis()) {
        Ok(Duration::from_millis(millis))
    } else {
        Err(format!("must be {words}"))
    }
}
