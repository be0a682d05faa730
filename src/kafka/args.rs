//! Arguments that every command takes.

use super::{ConnectionArgs, TopicArgs};
use crate::telemetry::LogArgs;

/// Flags that every command takes.
#[derive(clap::Args, Clone, Debug)]
pub struct GlobalArgs {
    /// How to reach Kafka.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// How the topics are called.
    #[command(flatten)]
    pub topics: TopicArgs,
    /// What to log.
    #[command(flatten)]
    pub log: LogArgs,
}
