//! Flags shared by commands.

use super::{ConnectionArgs, TopicArgs};
use crate::telemetry::LogArgs;

/// Flags shared by all commands.
#[derive(clap::Args, Clone, Debug)]
pub struct GlobalArgs {
    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub topics: TopicArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

/// The consumer group of the trackers.
#[derive(clap::Args, Clone, Debug)]
pub struct TrackerGroupArgs {
    /// Consumer group of the trackers, without --topic-prefix.
    #[arg(
        long,
        env = "SUNDOWN_TRACKER_GROUP",
        default_value = "sundown-tracker",
        value_name = "GROUP",
        hide_short_help = true
    )]
    pub tracker_group: String,
}
