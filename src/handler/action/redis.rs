//! `redis`: deletes keys of the session from Redis or Valkey.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, TlsCertificates,
};
use reqwest::Url;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use tokio::sync::OnceCell;

use super::error::{ActionError, Failure};
use super::http_client::default_timeout;
use super::{Action, ActionInput, Attempt};
use crate::handler::event::Reasons;
use crate::handler::fields::{
    ActionConfigError, ActionName, duration, parsed, url_without_credentials,
};
use crate::handler::secret::SecretRef;
use crate::handler::template::Template;
use crate::http::client;

/// A `redis` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RedisConfig {
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    #[serde(default)]
    pub reasons: Reasons,
    /// The server, or nodes of the cluster: `redis://host:port/db`, `rediss://` with TLS.
    servers: Vec<RedisUrl>,
    /// Whether the servers are nodes of a cluster.
    #[serde(default)]
    cluster: bool,
    /// The user, instead of the default user.
    username: Option<String>,
    password: Option<SecretRef>,
    /// The keys to delete.
    keys: Vec<Template>,
    #[serde(default)]
    command: DeleteCommand,
    /// Bounds one attempt.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// PEM certificates of the trusted authorities, instead of those of the system.
    ca_file: Option<PathBuf>,
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
    client: RedisClient,
    keys: Vec<Template>,
    command: &'static str,
    timeout: Duration,
    /// Connected on first use, so that startup does not wait for the server.
    connection: OnceCell<RedisConnection>,
}

enum RedisClient {
    Server(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// Clones share one connection, which reconnects when it breaks.
#[derive(Clone)]
enum RedisConnection {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
}

impl Redis {
    /// Reads the password and creates the client, without connecting.
    ///
    /// # Errors
    /// [`ActionConfigError`] if the password or the certificates cannot be read, or the fields
    /// contradict each other.
    pub fn new(config: RedisConfig) -> Result<Self, ActionConfigError> {
        let name = &config.name;
        if config.keys.is_empty() {
            return Err(ActionConfigError::field(
                name,
                "keys",
                "is empty; name the keys to delete",
            ));
        }
        if config.servers.is_empty() || !config.cluster && config.servers.len() > 1 {
            let problem = "needs exactly one server, or one or more with cluster: true";
            return Err(ActionConfigError::field(name, "servers", problem));
        }
        client::install_crypto_provider();
        let client = create_client(&config)?;
        let client =
            client.map_err(|error| ActionConfigError::field(name, "servers", error.to_string()))?;
        Ok(Self {
            client,
            keys: config.keys,
            command: match config.command {
                DeleteCommand::Unlink => "UNLINK",
                DeleteCommand::Del => "DEL",
            },
            timeout: config.timeout,
            connection: OnceCell::new(),
        })
    }

    async fn delete(&self, input: ActionInput<'_>) -> Result<(), ActionError> {
        let context = input.template_context();
        let keys = self.keys.iter().map(|key| key.render(&context));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        match tokio::time::timeout(self.timeout, self.delete_all(&keys)).await {
            Ok(result) => result.map_err(|error| classify(&error)),
            Err(_) => {
                let reason = format!("no response within {:?}", self.timeout);
                Err(ActionError::new(Failure::TimedOut, reason))
            }
        }
    }

    /// Deletes one key per command: in a cluster, each may be on another node.
    async fn delete_all(&self, keys: &[String]) -> RedisResult<()> {
        let connect = || self.client.connect(self.timeout);
        let connection = self.connection.get_or_try_init(connect).await?;
        for key in keys {
            let mut command = redis::cmd(self.command);
            command.arg(key);
            // The number of deleted keys is ignored: a missing key is a success.
            match connection.clone() {
                RedisConnection::Server(mut to) => command.exec_async(&mut to).await?,
                RedisConnection::Cluster(mut to) => command.exec_async(&mut to).await?,
            }
        }
        Ok(())
    }
}

impl RedisClient {
    async fn connect(&self, timeout: Duration) -> RedisResult<RedisConnection> {
        match self {
            Self::Server(client) => {
                let config = ConnectionManagerConfig::new()
                    // The action runner retries.
                    .set_number_of_retries(1)
                    .set_connection_timeout(Some(timeout / 2))
                    .set_response_timeout(Some(timeout));
                let manager = ConnectionManager::new_with_config(Client::clone(client), config);
                Ok(RedisConnection::Server(manager.await?))
            }
            Self::Cluster(client) => {
                let connection = client.get_async_connection();
                Ok(RedisConnection::Cluster(connection.await?))
            }
        }
    }
}

impl Action for Redis {
    fn run<'a>(&'a self, input: ActionInput<'a>) -> Attempt<'a> {
        Box::pin(self.delete(input))
    }
}

fn create_client(config: &RedisConfig) -> Result<RedisResult<RedisClient>, ActionConfigError> {
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
    let with_credentials = |server: &RedisUrl| -> RedisResult<ConnectionInfo> {
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
    let servers: RedisResult<Vec<_>> = config.servers.iter().map(with_credentials).collect();
    Ok(servers.and_then(|servers| build_client(servers, certificates, config)))
}

fn build_client(
    servers: Vec<ConnectionInfo>,
    certificates: TlsCertificates,
    config: &RedisConfig,
) -> RedisResult<RedisClient> {
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
        return Ok(RedisClient::Cluster(Box::new(cluster.build()?)));
    }
    let Some(server) = servers.into_iter().next() else {
        return Err((ErrorKind::InvalidClientConfig, "no server").into());
    };
    let client = if encrypted {
        Client::build_with_tls(server, certificates)?
    } else {
        Client::open(server)?
    };
    Ok(RedisClient::Server(Box::new(client)))
}

fn classify(error: &RedisError) -> ActionError {
    let failure = match (error.kind(), error.code()) {
        _ if error.is_connection_refusal() => Failure::NotConnected,
        (ErrorKind::AuthenticationFailed | ErrorKind::ClusterConnectionNotFound, _) => {
            Failure::NotConnected
        }
        (_, Some(code)) => Failure::Redis { code },
        _ => Failure::Interrupted,
    };
    ActionError::new(failure, error.to_string())
}

impl<'de> Deserialize<'de> for RedisUrl {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        parsed(field, "a URL", |text| {
            url_without_credentials(text, ["rediss", "redis"], "rediss://host:6379").map(Self)
        })
    }
}
