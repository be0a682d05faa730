//! `redis`: deletes keys of the session from Redis or Valkey.

pub mod config;
mod connection;
mod spring_session;

use std::time::Duration;

use redis::{Cmd, RedisResult};

use super::error::{ActionError, Failure};
use super::{Action, ActionInput, Attempt};
use crate::handler::fields::ActionConfigError;
use crate::handler::template::{Template, TemplateContext};
use crate::http::client;
use config::{DeleteCommand, RedisConfig, StoreLayout};
use connection::{Connector, Session, classify};
use spring_session::{SessionKeys, SpringSessionIndexed};

const SESSION_ID: &str = "{{ session_id }}";

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
            Ok(result) => result,
            Err(_) => {
                let reason = format!("no response within {:?}", self.timeout);
                Err(ActionError::new(Failure::TimedOut, reason))
            }
        }
    }

    async fn run_commands(&self, deletable: &Deletable) -> Result<(), ActionError> {
        let session = self.connector.session().await;
        let session =
            session.map_err(|error| ActionError::new(Failure::NotConnected, error.to_string()))?;
        if let Err(error) = deletable.delete(&session).await {
            self.connector.close_after(&session, &error).await;
            return Err(classify(&error));
        }
        Ok(())
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
            (Some(StoreLayout::SpringSessionIndexed), None) => {
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
