//! Flags of `sundown handler`.

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

/// The time without heartbeats after which the group evicts a member.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Flags of `sundown handler`.
#[derive(Args, Clone, Debug)]
pub struct HandlerArgs {
    /// YAML file of actions to run on terminal events. Without it, the handler only logs
    /// them.
    #[arg(long, env = "SUNDOWN_ACTIONS", value_name = "FILE")]
    pub actions: Option<PathBuf>,

    /// Consumer group, without --topic-prefix. The handlers of a group share the events;
    /// each group receives all of them.
    #[arg(
        long,
        env = "SUNDOWN_HANDLER_GROUP",
        default_value = "sundown-handler",
        value_name = "GROUP"
    )]
    pub group: String,

    /// Rebalance protocol of the group; `consumer` (KIP-848) needs Kafka 4.
    #[arg(
        long,
        env = "SUNDOWN_GROUP_PROTOCOL",
        default_value = "classic",
        value_name = "PROTOCOL"
    )]
    pub group_protocol: GroupProtocol,

    /// Maximum number of concurrent action attempts. Events of one user are still handled
    /// one at a time, in topic order.
    #[arg(
        long,
        env = "SUNDOWN_HANDLER_CONCURRENCY",
        default_value_t = 64,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=4096)
    )]
    pub concurrency: u16,

    /// Listen address for the public keys of signing actions, served at
    /// /.well-known/jwks.json only. Without it, the keys are not served.
    #[arg(long, env = "SUNDOWN_JWKS_LISTEN", value_name = "HOST:PORT")]
    pub jwks_listen: Option<String>,

    #[command(flatten)]
    pub admin: AdminArgs,
}

/// The handler's settings, from flags and files.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The connection to Kafka.
    pub client: ClientConfig,
    pub topics: Topics,
    /// The consumer group, prefix included.
    pub group: String,
    pub group_protocol: GroupProtocol,
    /// Bounds the attempts under way.
    pub concurrency: usize,
    pub actions: Actions,
    /// The address that serves public keys.
    pub jwks_listen: Option<String>,
}

impl Settings {
    /// Evaluates the flags and reads the files that they name.
    ///
    /// # Errors
    /// If flags contradict each other, or the actions file is not valid.
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

    /// The events to consume: endings always, warnings if an action is triggered by them.
    #[must_use]
    pub fn triggers(&self) -> Vec<Trigger> {
        let mut list = self.actions.list.iter();
        if list.any(|action| action.on.contains(Trigger::Warning)) {
            vec![Trigger::Ending, Trigger::Warning]
        } else {
            vec![Trigger::Ending]
        }
    }

    /// The topics that must exist.
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

    /// The client configuration of a member of `group`.
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
