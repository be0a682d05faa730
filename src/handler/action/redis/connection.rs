//! Connections to Redis: a server, a cluster, or the master that sentinels name.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo, RedisError, RedisResult, TlsCertificates, TlsMode,
};
use tokio::sync::Mutex;

use super::config::{RedisConfig, RedisUrl, SentinelConfig};
use crate::handler::action::error::{ActionError, Failure};
use crate::handler::fields::{ActionConfigError, ActionName, Literal};
use crate::handler::secret::SecretRef;
use crate::http::authorities;

/// Error codes of a server that has become a replica.
const REPLICA_CODES: [&str; 2] = ["READONLY", "MASTERDOWN"];

/// A connection that is opened when it is first used, and again after a failover.
pub(super) struct Connector {
    client: RedisClient,
    timeout: Duration,
    /// Locked while a connection is opened, so that concurrent attempts share it.
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    connection: Option<RedisConnection>,
    /// Counts the connections, so that an attempt closes none that is newer than its own.
    generation: u64,
}

enum RedisClient {
    Server(Box<Client>),
    Cluster(Box<ClusterClient>),
    Sentinel(Box<Mutex<SentinelClient>>),
}

/// Clones share one connection.
#[derive(Clone)]
enum RedisConnection {
    /// Reconnects when it breaks.
    Server(ConnectionManager),
    /// Reconnects when it breaks.
    Cluster(ClusterConnection),
    /// Stays broken: the master may be another one.
    Master(MultiplexedConnection),
}

/// A lease of the connection for one attempt.
pub(super) struct Session {
    connection: RedisConnection,
    generation: u64,
}

struct Credentials {
    username: Option<String>,
    password: Option<String>,
}

impl Connector {
    /// Reads passwords and certificates and creates the client, without connecting.
    pub(super) fn new(config: &RedisConfig) -> Result<Self, ActionConfigError> {
        let name = &config.name;
        let credentials = Credentials::read(
            name,
            "password",
            config.username.as_ref(),
            config.password.as_ref(),
        )?;
        let sentinel = config.sentinel.as_ref();
        let of_sentinels = sentinel.map(|sentinel| {
            let (username, password) = (sentinel.username.as_ref(), sentinel.password.as_ref());
            Credentials::read(name, "sentinel.password", username, password)
        });
        let host = config
            .servers
            .first()
            .and_then(|server| server.0.host_str());
        let ca_file = config.ca_file.as_deref().map(|path| {
            authorities::read(path, host.filter(|_| sentinel.is_none()))
                .map_err(|error| ActionConfigError::field(name, "caFile", format!("{error:#}")))
        });
        let encrypted = config
            .servers
            .iter()
            .all(|server| server.0.scheme() == "rediss");
        let certificates = encrypted.then_some(TlsCertificates {
            client_tls: None,
            root_cert: ca_file.transpose()?,
        });
        let client = match (sentinel, of_sentinels.transpose()?) {
            (Some(sentinel), Some(of_sentinels)) => {
                sentinel_client(config, sentinel, &credentials, &of_sentinels, certificates)
            }
            _ => direct_client(config, &credentials, certificates),
        };
        let client =
            client.map_err(|error| ActionConfigError::field(name, "servers", error.to_string()))?;
        Ok(Self {
            client,
            timeout: config.timeout,
            current: Mutex::default(),
        })
    }

    /// Returns the connection, and opens it if there is none.
    pub(super) async fn session(&self) -> RedisResult<Session> {
        let mut current = self.current.lock().await;
        let connection = if let Some(connection) = &current.connection {
            connection.clone()
        } else {
            let connection = self.client.connect(self.timeout).await?;
            current.generation += 1;
            current.connection = Some(connection.clone());
            connection
        };
        Ok(Session {
            connection,
            generation: current.generation,
        })
    }

    /// Closes the connection of an attempt if it leads to the wrong server by its error,
    /// so that the next attempt resolves name and master again.
    pub(super) async fn close_after(&self, session: &Session, error: &RedisError) {
        let is_replica = code(error).is_some_and(|code| REPLICA_CODES.contains(&code));
        let is_broken = matches!(session.connection, RedisConnection::Master(_))
            && (error.is_io_error() || error.is_unrecoverable_error());
        // A cluster client follows the cluster's topology itself.
        if matches!(session.connection, RedisConnection::Cluster(_)) || !(is_replica || is_broken) {
            return;
        }
        let mut current = self.current.lock().await;
        if current.generation == session.generation {
            current.connection = None;
        }
    }
}

impl Session {
    /// Sends a command.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        match self.connection.clone() {
            RedisConnection::Server(mut to) => command.query_async(&mut to).await,
            RedisConnection::Cluster(mut to) => command.query_async(&mut to).await,
            RedisConnection::Master(mut to) => command.query_async(&mut to).await,
        }
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
            Self::Sentinel(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(timeout / 2))
                    .set_response_timeout(Some(timeout));
                let mut client = client.lock().await;
                let connection = client.get_async_connection_with_config(&config);
                Ok(RedisConnection::Master(connection.await?))
            }
        }
    }
}

impl Credentials {
    fn read(
        action: &ActionName,
        field: &'static str,
        username: Option<&Literal>,
        password: Option<&SecretRef>,
    ) -> Result<Self, ActionConfigError> {
        let password = password.map(|password| password.read_text_for(action, field));
        let password = password.transpose()?;
        let password = password.and_then(|password| Some(password.expose_text()?.to_owned()));
        Ok(Self {
            username: username.cloned().map(Literal::into_string),
            password,
        })
    }
}

fn direct_client(
    config: &RedisConfig,
    credentials: &Credentials,
    certificates: Option<TlsCertificates>,
) -> RedisResult<RedisClient> {
    let with_credentials = |server: &RedisUrl| -> RedisResult<ConnectionInfo> {
        let info = server.0.as_str().into_connection_info()?;
        let mut settings = info.redis_settings().clone();
        if let Some(username) = &credentials.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &credentials.password {
            settings = settings.set_password(password);
        }
        Ok(info.set_redis_settings(settings))
    };
    let servers = config.servers.iter().map(with_credentials);
    let servers = servers.collect::<RedisResult<Vec<_>>>()?;
    if config.cluster {
        let mut cluster = ClusterClient::builder(servers)
            .retries(1)
            .connection_timeout(config.timeout / 2)
            .response_timeout(config.timeout);
        if let Some(certificates) = certificates {
            cluster = cluster.certs(certificates);
        }
        return Ok(RedisClient::Cluster(Box::new(cluster.build()?)));
    }
    let Some(server) = servers.into_iter().next() else {
        return Err((ErrorKind::InvalidClientConfig, "no server").into());
    };
    let client = match certificates {
        Some(certificates) => Client::build_with_tls(server, certificates)?,
        None => Client::open(server)?,
    };
    Ok(RedisClient::Server(Box::new(client)))
}

fn sentinel_client(
    config: &RedisConfig,
    sentinel: &SentinelConfig,
    of_redis: &Credentials,
    of_sentinels: &Credentials,
    certificates: Option<TlsCertificates>,
) -> RedisResult<RedisClient> {
    let infos = config.servers.iter();
    let infos = infos.map(|server| server.0.as_str().into_connection_info());
    let infos = infos.collect::<RedisResult<Vec<_>>>()?;
    let db = infos.first().map_or(0, |info| info.redis_settings().db());
    let addresses = infos.iter().map(|info| info.addr().clone());
    let master = sentinel.master.clone().into_string();
    let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
        .set_client_to_redis_db(db);
    if let Some(username) = &of_redis.username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = &of_redis.password {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(username) = &of_sentinels.username {
        builder = builder.set_client_to_sentinel_username(username);
    }
    if let Some(password) = &of_sentinels.password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(certificates);
    }
    Ok(RedisClient::Sentinel(Box::new(Mutex::new(
        builder.build()?,
    ))))
}

/// Classifies an error.
pub(super) fn classify(error: &RedisError) -> ActionError {
    let failure = match (error.kind(), code(error)) {
        _ if error.is_connection_refusal() => Failure::NotConnected,
        (
            ErrorKind::AuthenticationFailed
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::NoValidReplicasFoundBySentinel,
            _,
        ) => Failure::NotConnected,
        (_, Some(code)) => Failure::Redis { code },
        _ => Failure::Interrupted,
    };
    let remedy = match code(error) {
        Some("MOVED" | "ASK") => "; the server is a node of a cluster, set cluster: true",
        _ => "",
    };
    ActionError::new(failure, format!("{error}{remedy}"))
}

/// Returns the code of a server's error. Before Redis 7, the error of a command in a script is
/// wrapped: `ERR Error running script (call to f_…): @user_script:9: @user_script: 9: -READONLY …`.
fn code(error: &RedisError) -> Option<&str> {
    let wrapped = || {
        let (script, inner) = error.detail()?.rsplit_once(": -")?;
        let code = inner.split(' ').next();
        code.filter(|_| script.contains("@user_script"))
    };
    match error.code()? {
        "ERR" => wrapped().or(Some("ERR")),
        code => Some(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::action::error::Fault;

    /// The error of a reply, without its first character.
    fn error(reply: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{reply}\r\n").as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn the_error_of_a_command_in_a_script_counts_as_its_own() {
        for (reply, fault) in [
            (
                "ERR Error running script (call to f_4a): @user_script:11: @user_script: 11: \
                 -READONLY You can't write against a read only replica.",
                Fault::TargetDown,
            ),
            (
                "READONLY You can't write against a read only replica. script: 4a, on \
                 @user_script:11.",
                Fault::TargetDown,
            ),
            (
                "ERR Error running script (call to f_4a): @user_script:2: @user_script: 2: \
                 -WRONGTYPE Operation against a key holding the wrong kind of value",
                Fault::Event,
            ),
            (
                "SERIALIZER maxInactiveInterval is neither Java nor JSON",
                Fault::Event,
            ),
            ("ERR max number of clients reached", Fault::Target),
            (
                "ERR unknown command 'UNLINK', with args beginning with: 'a: -OOM'",
                Fault::Target,
            ),
        ] {
            assert_eq!(classify(&error(reply)).fault, fault, "{reply}");
        }
    }
}
