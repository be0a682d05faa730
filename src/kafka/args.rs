//! Flags shared by all commands.

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
