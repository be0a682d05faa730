//! Flags of `sundown handler`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rdkafka::ClientConfig;

use super::actions_file::Actions;
use super::event::Trigger;
use super::issuer::Issuer;
use super::role::ConsumerRole;
use super::streams;
use crate::admin::AdminArgs;
use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::kafka::group::{GroupProtocol, Membership, member_config};

/// The time without heartbeats after which the group evicts a member.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// What the consumers of a process together fetch ahead, in KiB.
const PREFETCH_KIB: u32 = 8 * 1024;
/// What each of them fetches ahead at least, in KiB.
const MIN_PREFETCH_KIB: u32 = 512;

/// Flags of `sundown handler`.
#[derive(Args, Clone, Debug)]
pub struct HandlerArgs {
    /// YAML file of actions to run on terminal events. Without it, the handler only logs
    /// them.
    #[arg(long, env = "SUNDOWN_ACTIONS", value_name = "FILE")]
    pub actions: Option<PathBuf>,

    /// Consumer group, without --topic-prefix. The handlers of a group share the events;
    /// each group receives all of them. Each action has a group of its own,
    /// GROUP.ACTION.
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

    /// Maximum number of concurrent attempts of each action. For one action, events of one
    /// user are still handled one at a time, in topic order.
    #[arg(
        long,
        env = "SUNDOWN_HANDLER_CONCURRENCY",
        default_value_t = 64,
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..=4096)
    )]
    pub concurrency: u16,

    /// Listen address for the public keys of signing actions, served at
    /// /.well-known/jwks.json. Without it, the keys are not served.
    #[arg(long, env = "SUNDOWN_JWKS_LISTEN", value_name = "HOST:PORT")]
    pub jwks_listen: Option<String>,

    /// PEM file of that listener's certificate and its chain; without it, put TLS in front of
    /// the listener. A renewed one is used within seconds.
    #[arg(
        long,
        env = "SUNDOWN_JWKS_TLS_CERT",
        value_name = "FILE",
        requires = "jwks_tls_key"
    )]
    pub jwks_tls_cert: Option<PathBuf>,

    /// PEM file of that certificate's private key.
    #[arg(
        long,
        env = "SUNDOWN_JWKS_TLS_KEY",
        value_name = "FILE",
        requires = "jwks_tls_cert"
    )]
    pub jwks_tls_key: Option<PathBuf>,

    /// Issuer of which the listener also serves a discovery document, at
    /// /.well-known/openid-configuration, for receivers that take an issuer instead of keys,
    /// and the streams of shared-signals actions, at /.well-known/ssf-configuration.
    #[arg(
        long,
        env = "SUNDOWN_JWKS_ISSUER",
        value_name = "URL",
        requires = "jwks_listen",
        value_parser = Issuer::parse
    )]
    pub jwks_issuer: Option<Issuer>,

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
    /// Bounds the attempts under way, of each action.
    pub concurrency: usize,
    pub actions: Actions,
    /// The address that serves public keys.
    pub jwks_listen: Option<String>,
    /// The issuer whose discovery document that address serves.
    pub jwks_issuer: Option<Issuer>,
    /// The files of that address's certificate and key.
    pub jwks_tls: [Option<PathBuf>; 2],
}

impl Settings {
    /// Evaluates the flags and reads the files that they name.
    ///
    /// # Errors
    /// If flags contradict each other, or the actions file is not valid.
    pub fn new(args: &HandlerArgs, global: &GlobalArgs) -> anyhow::Result<Self> {
        let actions = args.actions.as_deref().map(Actions::load);
        let actions = actions.transpose()?.unwrap_or_else(Actions::only_log);
        streams::check_issuers(&actions.streams(), args.jwks_issuer.as_ref())?;
        Ok(Self {
            client: global.connection.client_config()?,
            topics: global.topics.topics(),
            group: global.topics.prefixed(&args.group),
            group_protocol: args.group_protocol,
            concurrency: args.concurrency.into(),
            actions,
            jwks_listen: args.jwks_listen.clone(),
            jwks_issuer: args.jwks_issuer.clone(),
            jwks_tls: [args.jwks_tls_cert.clone(), args.jwks_tls_key.clone()],
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

    /// The roles of the handler's consumers.
    #[must_use]
    pub fn roles(&self) -> Vec<ConsumerRole> {
        ConsumerRole::all(&self.actions.list)
    }

    /// The topic of one kind of event.
    #[must_use]
    pub fn topic(&self, trigger: Trigger) -> &str {
        match trigger {
            Trigger::Ending => &self.topics.expired_sessions,
            Trigger::Warning => &self.topics.expiring_sessions,
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
            topics.processes.as_str(),
        ];
        if self.triggers().contains(&Trigger::Warning) {
            required.push(&topics.expiring_sessions);
        }
        required
    }

    /// The client configuration of a member of `group`, one of `consumers` in this process.
    #[must_use]
    pub fn member(&self, group: &str, consumers: usize) -> ClientConfig {
        let consumers = u32::try_from(consumers).unwrap_or(u32::MAX).max(1);
        let member = Membership {
            group,
            protocol: self.group_protocol,
            session_timeout: SESSION_TIMEOUT,
            prefetch_kib: (PREFETCH_KIB / consumers).max(MIN_PREFETCH_KIB),
            offset_reset: "earliest",
        };
        member_config(&self.client, &member)
    }
}
