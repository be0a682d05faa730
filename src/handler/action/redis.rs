//! `redis`: deletes keys of the session from Redis or Valkey.

mod connection;
mod spring_session;

use std::path::PathBuf;
use std::time::Duration;

use redis::{Cmd, RedisResult};
use reqwest::Url;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::error::{ActionError, Failure};
use super::http_client::default_timeout;
use super::{Action, ActionInput, Attempt};
use crate::handler::event::Reasons;
use crate::handler::fields::{
    ActionConfigError, ActionName, Literal, duration, parsed, url_without_credentials,
};
use crate::handler::secret::SecretRef;
use crate::handler::template::{Template, TemplateContext};
use crate::http::client;
use connection::{Connector, Session, classify};
use spring_session::{Layout, SessionKeys, SpringSessionIndexed};

const SESSION_ID: &str = "{{ session_id }}";

/// A `redis` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RedisConfig {
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    #[serde(default)]
    pub reasons: Reasons,
    /// The server, nodes of the cluster, or sentinels: `redis://host:port/db`, `rediss://` with
    /// TLS.
    servers: Vec<RedisUrl>,
    /// Whether the servers are nodes of a cluster.
    #[serde(default)]
    cluster: bool,
    /// The master to ask the servers for, which are sentinels.
    sentinel: Option<SentinelConfig>,
    /// The user, instead of the default user.
    username: Option<Literal>,
    password: Option<SecretRef>,
    /// The keys to delete.
    keys: Option<Vec<Template>>,
    command: Option<DeleteCommand>,
    /// The layout of the store, instead of `keys`.
    layout: Option<Layout>,
    /// The namespace of the layout.
    namespace: Option<Literal>,
    /// The id of the session in the store; by default that of the event.
    session: Option<Template>,
    /// The user by whom the layout indexes sessions.
    principal: Option<Template>,
    /// Bounds one attempt.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// PEM certificates of the trusted authorities, instead of those of the system.
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SentinelConfig {
    /// The name by which the sentinels know the master.
    master: Literal,
    /// The user of the sentinels, if they have users of their own.
    username: Option<Literal>,
    password: Option<SecretRef>,
}

#[derive(Debug)]
struct RedisUrl(Url);

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum DeleteCommand {
    /// Frees memory in the background, so that large values do not block the server.
    #[default]
    Unlink,
    Del,
}

pub struct Redis {
    connector: Connector,
    deletion: Deletion,
    timeout: Duration,
}

/// What to delete.
enum Deletion {
    Keys {
        keys: Vec<Template>,
        command: &'static str,
    },
    SpringSessionIndexed(Box<SpringSessionIndexed>),
}

/// What to delete for one event.
enum Deletable {
    Keys {
        keys: Vec<String>,
        command: &'static str,
    },
    Session(SessionKeys),
}

impl Redis {
    /// Reads the passwords and creates the client, without connecting.
    ///
    /// # Errors
    /// [`ActionConfigError`] if a password or the certificates cannot be read, or the fields
    /// contradict each other.
    pub fn new(config: RedisConfig) -> Result<Self, ActionConfigError> {
        check_servers(&config)?;
        client::install_crypto_provider();
        Ok(Self {
            connector: Connector::new(&config)?,
            timeout: config.timeout,
            deletion: Deletion::new(config)?,
        })
    }

    async fn delete(&self, input: ActionInput<'_>) -> Result<(), ActionError> {
        let deletable = self.deletion.render(&input.template_context())?;
        match tokio::time::timeout(self.timeout, self.run_commands(&deletable)).await {
            Ok(result) => result.map_err(|error| classify(&error)),
            Err(_) => {
                let reason = format!("no response within {:?}", self.timeout);
                Err(ActionError::new(Failure::TimedOut, reason))
            }
        }
    }

    async fn run_commands(&self, deletable: &Deletable) -> RedisResult<()> {
        let session = self.connector.session().await?;
        let result = deletable.delete(&session).await;
        if let Err(error) = &result {
            self.connector.close_after(&session, error).await;
        }
        result
    }
}

impl Deletion {
    fn new(config: RedisConfig) -> Result<Self, ActionConfigError> {
        let error = |field, problem| Err(ActionConfigError::field(&config.name, field, problem));
        match (config.layout, config.keys) {
            (None, Some(keys)) if !keys.is_empty() => {
                if config.namespace.is_some()
                    || config.session.is_some()
                    || config.principal.is_some()
                {
                    let problem = "is missing; namespace, session and principal belong to it";
                    return error("layout", problem);
                }
                let command = match config.command.unwrap_or_default() {
                    DeleteCommand::Unlink => "UNLINK",
                    DeleteCommand::Del => "DEL",
                };
                Ok(Self::Keys { keys, command })
            }
            (None, _) => error("keys", "is empty; name the keys to delete, or a layout"),
            (Some(_), Some(_)) => error("keys", "are those of the layout; remove one of them"),
            (Some(_), None) if config.command.is_some() => {
                error("command", "is that of the layout; remove it")
            }
            (Some(Layout::SpringSessionIndexed), None) => {
                let session = config
                    .session
                    .map_or_else(|| Template::parse(SESSION_ID), Ok);
                let session = session.map_err(|problem| {
                    ActionConfigError::field(&config.name, "session", problem)
                })?;
                let layout = SpringSessionIndexed::new(config.namespace, session, config.principal);
                Ok(Self::SpringSessionIndexed(Box::new(layout)))
            }
        }
    }

    fn render(&self, context: &TemplateContext) -> Result<Deletable, ActionError> {
        match self {
            Self::Keys { keys, command } => {
                let keys = keys.iter().map(|key| key.render(context));
                Ok(Deletable::Keys {
                    keys: keys.collect::<Result<_, _>>()?,
                    command,
                })
            }
            Self::SpringSessionIndexed(layout) => layout.keys(context).map(Deletable::Session),
        }
    }
}

impl Deletable {
    async fn delete(&self, session: &Session) -> RedisResult<()> {
        match self {
            // One key per command: in a cluster, each may be on another node.
            Self::Keys { keys, command } => {
                for key in keys {
                    let mut delete = Cmd::new();
                    delete.arg(command).arg(key);
                    // The number of deleted keys is ignored: a missing key is a success.
                    session.query::<()>(&delete).await?;
                }
                Ok(())
            }
            Self::Session(keys) => keys.delete(session).await,
        }
    }
}

impl Action for Redis {
    fn run<'a>(&'a self, input: ActionInput<'a>) -> Attempt<'a> {
        Box::pin(self.delete(input))
    }
}

fn check_servers(config: &RedisConfig) -> Result<(), ActionConfigError> {
    let several = config.cluster || config.sentinel.is_some();
    let encrypted = config.servers.iter();
    let encrypted = encrypted
        .filter(|server| server.0.scheme() == "rediss")
        .count();
    let problem = if config.cluster && config.sentinel.is_some() {
        "are nodes of a cluster or sentinels; remove cluster or sentinel"
    } else if config.servers.is_empty() || !several && config.servers.len() > 1 {
        "needs exactly one server, or one or more with cluster: true or sentinel"
    } else if encrypted != 0 && encrypted != config.servers.len() {
        "must start with rediss:// or redis:// all alike"
    } else if encrypted == 0 && config.ca_file.is_some() {
        "need rediss:// for caFile"
    } else {
        return Ok(());
    };
    Err(ActionConfigError::field(&config.name, "servers", problem))
}

impl<'de> Deserialize<'de> for RedisUrl {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        parsed(field, "a URL", |text| {
            url_without_credentials(text, ["rediss", "redis"], "rediss://host:6379").map(Self)
        })
    }
}
