//! The group flag.

use clap::Args;

/// The consumer group whose state is meant.
#[derive(Args, Clone, Debug)]
pub struct GroupArgs {
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
