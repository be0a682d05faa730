//! The controller's flags.

use std::time::Duration;

use clap::Args;

use crate::admin::AdminArgs;
use crate::wire::duration;

/// The lease durations that make sense, in milliseconds: below, a slow answer of the API
/// server costs the lead; above, a dead leader is missed for too long.
const LEASE_RANGE: std::ops::RangeInclusive<i64> = 5_000..=300_000;
/// How often the lag may be measured, in milliseconds.
const LAG_RANGE: std::ops::RangeInclusive<i64> = 1_000..=10_000;

/// Flags of `sundown controller`.
#[derive(Args, Clone, Debug)]
pub struct ControllerArgs {
    /// Namespace to watch for session policies; may be given several times. Without it,
    /// the controller's own.
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

    /// The Lease by which controllers elect the one that writes. Those that write to the
    /// same topics need the same one.
    #[arg(
        long,
        env = "SUNDOWN_LEASE_NAME",
        default_value = "sundown-controller",
        value_name = "NAME"
    )]
    pub lease_name: String,

    /// The namespace of the Lease. Without it, the controller's own.
    #[arg(long, env = "SUNDOWN_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// How long after a leader's last sign of life another controller takes over; from 5 s
    /// to 5 min.
    #[arg(long, env = "SUNDOWN_LEASE_DURATION", default_value = "15s", value_name = "DURATION", value_parser = lease_duration)]
    pub lease_duration: Duration,

    /// The trackers' consumer group, behind the topic prefix, to measure its lag.
    #[arg(
        long,
        env = "SUNDOWN_TRACKER_GROUP",
        default_value = "sundown-tracker",
        value_name = "GROUP"
    )]
    pub tracker_group: String,

    /// The handlers' consumer group, behind the topic prefix, to measure its lag.
    #[arg(
        long,
        env = "SUNDOWN_HANDLER_GROUP",
        default_value = "sundown-handler",
        value_name = "GROUP"
    )]
    pub handler_group: String,

    /// How often the lag is measured; from 1 s to 10 s.
    #[arg(long, env = "SUNDOWN_LAG_INTERVAL", default_value = "5s", value_name = "DURATION", value_parser = lag_interval)]
    pub lag_interval: Duration,

    /// The admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
}

fn lease_duration(text: &str) -> Result<Duration, String> {
    within(text, LEASE_RANGE, "from 5s to 5m")
}

fn lag_interval(text: &str) -> Result<Duration, String> {
    within(text, LAG_RANGE, "from 1s to 10s")
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
        Err(format!("it has to be {words}"))
    }
}
