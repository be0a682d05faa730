//! The handler's flags.

use std::path::PathBuf;

use clap::Args;
use rdkafka::ClientConfig;

use super::config::Actions;
use crate::admin::AdminArgs;
use crate::cli::GlobalArgs;
use crate::kafka::Topics;

/// Flags of `sundown handler`.
#[derive(Args, Clone, Debug)]
pub struct HandlerArgs {
    /// YAML file of what to do about sessions that are over. Without it, they are only
    /// logged.
    #[arg(long, env = "SUNDOWN_ACTIONS", value_name = "FILE")]
    pub actions: Option<PathBuf>,

    /// The consumer group, behind the topic prefix. Handlers of one group share the
    /// events; each group gets all of them.
    #[arg(
        long,
        env = "SUNDOWN_HANDLER_GROUP",
        default_value = "sundown-handler",
        value_name = "GROUP"
    )]
    pub group: String,

    /// How many attempts of actions may be under way at once. The events of one user are
    /// done one after the other all the same, in the order of the topic.
    #[arg(
        long,
        env = "SUNDOWN_HANDLER_CONCURRENCY",
        default_value_t = 64,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=4096)
    )]
    pub concurrency: u16,

    /// The admin port.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// What a handler has to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to reach Kafka.
    pub client: ClientConfig,
    /// The topics' names.
    pub topics: Topics,
    /// The consumer group, prefix included.
    pub group: String,
    /// The most attempts under way at once.
    pub concurrency: usize,
    /// What to do.
    pub actions: Actions,
}

impl Settings {
    /// What the flags say, and the files that they name.
    ///
    /// # Errors
    /// Flags that contradict each other, or an actions file that cannot be used.
    pub fn new(args: &HandlerArgs, global: &GlobalArgs) -> anyhow::Result<Self> {
        let actions = args.actions.as_deref().map(Actions::load);
        Ok(Self {
            client: global.connection.client_config()?,
            topics: global.topics.topics(),
            group: global.topics.prefixed(&args.group),
            concurrency: args.concurrency.into(),
            actions: actions.transpose()?.unwrap_or_else(Actions::only_log),
        })
    }

    /// The configuration of a member of the group.
    #[must_use]
    pub fn consumer(&self) -> ClientConfig {
        let mut member = ClientConfig::new();
        member
            .set("group.id", &self.group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            // Bounds what is fetched ahead, in KiB.
            .set("queued.max.messages.kbytes", "8192")
            // How long fetching pauses at that bound; the default is a second.
            .set("fetch.queue.backoff.ms", "10");
        // In the newer protocol these are the brokers' to say, and the client refuses them.
        if self.client.get("group.protocol") != Some("consumer") {
            member
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", "10000")
                .set("heartbeat.interval.ms", "2000");
        }
        // What the user set with -X wins.
        for (key, value) in self.client.config_map() {
            member.set(key, value);
        }
        member
    }
}
