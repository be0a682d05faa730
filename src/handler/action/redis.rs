//! `redis`: deletes the session's keys from a session store in Redis or Valkey.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, RedisResult,
    ServerErrorKind, TlsCertificates,
};
use reqwest::Url;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use tokio::sync::OnceCell;

use super::error::ActionError;
use super::http_client::default_timeout;
use super::{Action, Attempt, Delivery};
use crate::handler::fields::{
    ActionConfigError, ActionName, duration, parsed, url_without_credentials,
};
use crate::handler::secret::SecretRef;
use crate::handler::template::Template;
use crate::http::client;

/// A `redis` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// What policies and metrics call it.
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    /// The server, or some of a cluster's: `redis://host:port/db`, `rediss://` with TLS.
    servers: Vec<Server>,
    /// Whether they are a cluster.
    #[serde(default)]
    cluster: bool,
    /// Whom to log in as, if not as the default user.
    username: Option<String>,
    /// What to log in with.
    password: Option<SecretRef>,
    /// Which keys to delete.
    keys: Vec<Template>,
    /// How.
    #[serde(default)]
    command: Command,
    /// For one attempt.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// Certificates of the authorities to trust, PEM, instead of the system's.
    ca_file: Option<PathBuf>,
}

#[derive(Debug)]
struct Server(Url);

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Command {
    /// The memory is freed later, so that large sessions do not hold up the server.
    #[default]
    Unlink,
    Del,
}

/// Deletes keys.
pub struct Redis {
    target: Target,
    keys: Vec<Template>,
    command: &'static str,
    timeout: Duration,
    /// Made when it is first needed: nothing is waited for at the start.
    connection: OnceCell<Connection>,
}

enum Target {
    Server(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// Clones share one connection, which is made anew when it breaks.
#[derive(Clone)]
enum Connection {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Redis {
    /// Fetches the password and makes the client; connects to nothing yet.
    ///
    /// # Errors
    /// [`ActionConfigError`] if the password or the certificates cannot be read, or the fields
    /// contradict each other.
    pub fn new(config: Config) -> Result<Self, ActionConfigError> {
        let name = &config.name;
        if config.keys.is_empty() {
            return Err(ActionConfigError::field(
                name,
                "keys",
                "names no keys to delete",
            ));
        }
        if config.servers.is_empty() || !config.cluster && config.servers.len() > 1 {
            let problem = "needs exactly one server, or with cluster: true one or more";
            return Err(ActionConfigError::field(name, "servers", problem));
        }
        client::install_crypto_provider();
        let target = target(&config)?;
        let target =
            target.map_err(|error| ActionConfigError::field(name, "servers", error.to_string()))?;
        Ok(Self {
            target,
            keys: config.keys,
            command: match config.command {
                Command::Unlink => "UNLINK",
                Command::Del => "DEL",
            },
            timeout: config.timeout,
            connection: OnceCell::new(),
        })
    }

    async fn delete(&self, delivery: Delivery<'_>) -> Result<(), ActionError> {
        let facts = delivery.facts();
        let keys = self.keys.iter().map(|key| key.fill(&facts));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        match tokio::time::timeout(self.timeout, self.delete_all(&keys)).await {
            Ok(result) => result.map_err(|error| explain(&error)),
            Err(_) => {
                let reason = format!("no answer within {:?}", self.timeout);
                Err(ActionError::retryable(reason))
            }
        }
    }

    /// One key a command: in a cluster, each may be on another server.
    async fn delete_all(&self, keys: &[String]) -> RedisResult<()> {
        let connect = || self.target.connect(self.timeout);
        let connection = self.connection.get_or_try_init(connect).await?;
        for key in keys {
            let mut command = redis::cmd(self.command);
            command.arg(key);
            // How many there were does not matter: gone is gone.
            match connection.clone() {
                Connection::Server(mut to) => command.exec_async(&mut to).await?,
                Connection::Cluster(mut to) => command.exec_async(&mut to).await?,
            }
        }
        Ok(())
    }
}

impl Target {
    async fn connect(&self, timeout: Duration) -> RedisResult<Connection> {
        match self {
            Self::Server(client) => {
                let config = ConnectionManagerConfig::new()
                    // Attempts are repeated by whoever makes them.
                    .set_number_of_retries(1)
                    .set_connection_timeout(Some(timeout / 2))
                    .set_response_timeout(Some(timeout));
                let manager = ConnectionManager::new_with_config(Client::clone(client), config);
                Ok(Connection::Server(manager.await?))
            }
            Self::Cluster(client) => {
                let connection = client.get_async_connection();
                Ok(Connection::Cluster(connection.await?))
            }
        }
    }
}

impl Action for Redis {
    fn run<'a>(&'a self, delivery: Delivery<'a>) -> Attempt<'a> {
        Box::pin(self.delete(delivery))
    }
}

fn target(config: &Config) -> Result<RedisResult<Target>, ActionConfigError> {
    let name = &config.name;
    let password = config.password.as_ref();
    let password = password.map(|password| password.read_text_for(name, "password"));
    let password = password.transpose()?;
    let read = |path: &PathBuf| {
        let problem = |error| format!("cannot read {}: {error}", path.display());
        fs::read(path).map_err(|error| ActionConfigError::field(name, "caFile", problem(error)))
    };
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: config.ca_file.as_ref().map(read).transpose()?,
    };
    let log_in = |server: &Server| -> RedisResult<ConnectionInfo> {
        let info = server.0.as_str().into_connection_info()?;
        let mut settings = info.redis_settings().clone();
        if let Some(username) = &config.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &password {
            settings = settings.set_password(password.expose_text().unwrap_or_default());
        }
        Ok(info.set_redis_settings(settings))
    };
    let servers: RedisResult<Vec<_>> = config.servers.iter().map(log_in).collect();
    Ok(servers.and_then(|servers| connect_to(servers, certificates, config)))
}

fn connect_to(
    servers: Vec<ConnectionInfo>,
    certificates: TlsCertificates,
    config: &Config,
) -> RedisResult<Target> {
    let encrypted = config
        .servers
        .iter()
        .all(|server| server.0.scheme() == "rediss");
    if config.cluster {
        let mut cluster = ClusterClient::builder(servers)
            .retries(1)
            .connection_timeout(config.timeout / 2)
            .response_timeout(config.timeout);
        if encrypted {
            cluster = cluster.certs(certificates);
        }
        return Ok(Target::Cluster(Box::new(cluster.build()?)));
    }
    let Some(server) = servers.into_iter().next() else {
        return Err((ErrorKind::InvalidClientConfig, "no server").into());
    };
    let client = if encrypted {
        Client::build_with_tls(server, certificates)?
    } else {
        Client::open(server)?
    };
    Ok(Target::Server(Box::new(client)))
}

fn explain(error: &RedisError) -> ActionError {
    let reason = error.to_string();
    let locked_out = ["NOAUTH", "WRONGPASS", "NOPERM"];
    match error.kind() {
        _ if error.is_connection_refusal() => ActionError::unreachable(reason),
        ErrorKind::AuthenticationFailed | ErrorKind::ClusterConnectionNotFound => {
            ActionError::unreachable(reason)
        }
        _ if error.code().is_some_and(|code| locked_out.contains(&code)) => {
            ActionError::unreachable(reason)
        }
        ErrorKind::Io
        | ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly,
        ) => ActionError::retryable(reason),
        _ => ActionError::permanent(reason),
    }
}

impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        parsed(field, "a URL", |text| {
            url_without_credentials(text, ["rediss", "redis"], "rediss://host:6379").map(Self)
        })
    }
}
