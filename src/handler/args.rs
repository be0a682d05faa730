//! The handler's flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rdkafka::ClientConfig;

use super::actions_file::Actions;
use super::event::Trigger;
use crate::admin::AdminArgs;
use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::kafka::group::{GroupProtocol, Membership, member_config};

/// How long the group waits for a silent member before it gives its partitions to others.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

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

    /// How the group rebalances; `consumer` is KIP-848 and needs Kafka 4.
    #[arg(
        long,
        env = "SUNDOWN_GROUP_PROTOCOL",
        default_value = "classic",
        value_name = "PROTOCOL"
    )]
    pub group_protocol: GroupProtocol,

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

    /// Where to serve the public keys of actions that sign, at /.well-known/jwks.json and
    /// nothing else, for relying parties to fetch. Without it, they are not served.
    #[arg(long, env = "SUNDOWN_JWKS_LISTEN", value_name = "HOST:PORT")]
    pub jwks_listen: Option<String>,

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
    /// How it rebalances.
    pub group_protocol: GroupProtocol,
    /// The most attempts under way at once.
    pub concurrency: usize,
    /// What to do.
    pub actions: Actions,
    /// Where to serve public keys, if anywhere.
    pub jwks_listen: Option<String>,
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
            group_protocol: args.group_protocol,
            concurrency: args.concurrency.into(),
            actions: actions.transpose()?.unwrap_or_else(Actions::only_log),
            jwks_listen: args.jwks_listen.clone(),
        })
    }

    /// What there is an action for; endings in any case.
    #[must_use]
    pub fn triggers(&self) -> Vec<Trigger> {
        let mut list = self.actions.list.iter();
        if list.any(|action| action.on.include(Trigger::Warning)) {
            vec![Trigger::Ending, Trigger::Warning]
        } else {
            vec![Trigger::Ending]
        }
    }

    /// The topics that have to exist.
    #[must_use]
    pub fn required_topics(&self) -> Vec<&str> {
        let topics = &self.topics;
        let mut required = vec![
            topics.expired_sessions.as_str(),
            topics.expired_sessions_dlq.as_str(),
            topics.policies.as_str(),
        ];
        if self.triggers().contains(&Trigger::Warning) {
            required.push(&topics.expiring_sessions);
        }
        required
    }

    /// The configuration of a member of the group.
    #[must_use]
    pub fn member(&self, group: &str) -> ClientConfig {
        let member = Membership {
            group,
            protocol: self.group_protocol,
            session_timeout: SESSION_TIMEOUT,
            prefetch_kib: 8 * 1024,
            offset_reset: "earliest",
        };
        member_config(&self.client, &member)
    }
}
