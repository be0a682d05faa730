//! Configuration of Kafka clients.

use std::path::{Path, PathBuf};

use clap::Args;
use rdkafka::ClientConfig;

use super::connection_error::{ConnectionError, file_error, read_secret};
use super::credentials::CredentialFiles;
use super::oauth::{OAUTHBEARER, OAuthArgs, PROPERTY_PREFIX};
use super::property::{Property, PropertyParser};
use super::trust;

/// Whether brokers may create a topic because a client asks for it.
const AUTO_CREATE: &str = "allow.auto.create.topics";
/// The default listener of a broker.
const LOCAL_BROKER: &str = "127.0.0.1:9092";

/// Flags that configure the connection to Kafka.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Kafka")]
pub struct ConnectionArgs {
    /// Bootstrap brokers, comma-separated. Defaults to 127.0.0.1:9092; the demo starts an
    /// embedded broker instead.
    #[arg(
        short,
        long,
        env = "SUNDOWN_BOOTSTRAP_SERVERS",
        value_name = "HOST:PORT,…",
        global = true
    )]
    pub bootstrap_servers: Option<String>,

    /// librdkafka property; can be repeated. Overrides all other flags. Properties with a
    /// secret value are refused: see --property-file.
    #[arg(short = 'X', env = "SUNDOWN_KAFKA_PROPERTIES", hide_env_values = true, value_name = "KEY=VALUE", value_parser = PropertyParser::Value, value_delimiter = ';', global = true)]
    pub properties: Vec<Property>,

    /// librdkafka property whose value is the content of a file; can be repeated.
    #[arg(
        long = "property-file",
        env = "SUNDOWN_KAFKA_PROPERTY_FILES",
        value_name = "KEY=FILE",
        value_parser = PropertyParser::File,
        value_delimiter = ';',
        hide_short_help = true,
        global = true
    )]
    pub property_files: Vec<Property>,

    /// Use TLS; implied by the other --tls flags.
    #[arg(long, env = "SUNDOWN_TLS", hide_short_help = true, global = true)]
    pub tls: bool,

    /// PEM file of trusted CA certificates, or directory of *.crt and *.pem files. Defaults
    /// to the system's, or to SSL_CERT_FILE and SSL_CERT_DIR.
    #[arg(
        long,
        env = "SUNDOWN_TLS_CA_FILE",
        value_name = "FILE",
        hide_short_help = true,
        global = true
    )]
    pub tls_ca_file: Option<PathBuf>,

    /// PEM file of the client certificate; requires --tls-key-file.
    #[arg(
        long,
        env = "SUNDOWN_TLS_CERT_FILE",
        value_name = "FILE",
        hide_short_help = true,
        global = true
    )]
    pub tls_cert_file: Option<PathBuf>,

    /// PEM file of the client certificate's private key.
    #[arg(
        long,
        env = "SUNDOWN_TLS_KEY_FILE",
        value_name = "FILE",
        hide_short_help = true,
        global = true
    )]
    pub tls_key_file: Option<PathBuf>,

    /// SASL mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.
    #[arg(
        long,
        env = "SUNDOWN_SASL_MECHANISM",
        value_name = "MECHANISM",
        hide_short_help = true,
        global = true
    )]
    pub sasl_mechanism: Option<String>,

    /// SASL user name.
    #[arg(
        long,
        env = "SUNDOWN_SASL_USERNAME",
        value_name = "USER",
        hide_short_help = true,
        global = true
    )]
    pub sasl_username: Option<String>,

    /// File with the SASL user name, as an alternative to --sasl-username.
    #[arg(
        long,
        env = "SUNDOWN_SASL_USERNAME_FILE",
        value_name = "FILE",
        conflicts_with = "sasl_username",
        hide_short_help = true,
        global = true
    )]
    pub sasl_username_file: Option<PathBuf>,

    /// File with the SASL password, as an alternative to SUNDOWN_SASL_PASSWORD. No flag
    /// takes the password itself, because process lists show flags.
    #[arg(
        long,
        env = "SUNDOWN_SASL_PASSWORD_FILE",
        value_name = "FILE",
        hide_short_help = true,
        global = true
    )]
    pub sasl_password_file: Option<PathBuf>,

    #[command(flatten)]
    pub oauth: OAuthArgs,
}

impl ConnectionArgs {
    /// The bootstrap brokers, comma-separated.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        self.bootstrap_servers.as_deref().unwrap_or(LOCAL_BROKER)
    }

    /// The base configuration of producers.
    ///
    /// # Errors
    /// [`ConnectionError`] if the flags contradict each other.
    pub fn producer_config(&self) -> Result<ClientConfig, ConnectionError> {
        let mut config = self.client_config()?;
        // A topic that the brokers create by themselves has other settings than it needs.
        if config.get(AUTO_CREATE).is_none() {
            config.set(AUTO_CREATE, "false");
        }
        if !self.properties.iter().any(|(key, _)| key == "partitioner") {
            // The Java client's partitioner, so that all producers choose the same partitions.
            config.set("partitioner", "murmur2_random");
        }
        Ok(config)
    }

    /// The base configuration of consumers and admin clients.
    ///
    /// # Errors
    /// [`ConnectionError`] if the flags contradict each other.
    pub fn client_config(&self) -> Result<ClientConfig, ConnectionError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.bootstrap_servers())
            .set("client.id", "sundown")
            // librdkafka's default of 10 s delays the recovery from broker restarts.
            .set("reconnect.backoff.max.ms", "2000")
            // As the Java client: a broker's pod that was replaced leaves an address that never answers, and
            // librdkafka's own 30 s are as long as a client may be silent.
            .set("socket.connection.setup.timeout.ms", "10000")
            // Client metrics for the brokers (KIP-714) take a lock for each record read.
            .set("enable.metrics.push", "false");
        let tls_files = [
            ("ssl.certificate.location", &self.tls_cert_file),
            ("ssl.key.location", &self.tls_key_file),
        ];
        let files = tls_files.iter().map(|(_, file)| *file);
        let tls = self.tls || files.chain([&self.tls_ca_file]).any(Option::is_some);
        let trusted = self.tls_ca_file.as_deref();
        let file = |source| file_error(trusted.unwrap_or(Path::new("")), source, "--tls-ca-file");
        trust::configure(&mut config, trust::Peer::Broker, trusted).map_err(file)?;
        for (property, file) in tls_files {
            if let Some(file) = file {
                config.set(property, file.to_string_lossy());
            }
        }
        self.set_sasl(&mut config)?;
        let protocol = match (tls, self.sasl_mechanism.is_some()) {
            (false, false) => "plaintext",
            (true, false) => "ssl",
            (false, true) => "sasl_plaintext",
            (true, true) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        self.set_properties(&mut config)?;
        Ok(config)
    }

    /// The files of certificates, keys and passwords.
    #[must_use]
    pub fn credential_files(&self) -> CredentialFiles {
        let files = [
            &self.tls_ca_file,
            &self.tls_cert_file,
            &self.tls_key_file,
            &self.sasl_username_file,
            &self.sasl_password_file,
        ];
        let files = files.into_iter().flatten();
        let files = files.chain(self.oauth.files()).cloned();
        let properties = self.property_files.iter();
        let properties = properties.map(|(_, file)| PathBuf::from(file));
        CredentialFiles::new(files.chain(properties).collect())
    }

    fn set_sasl(&self, config: &mut ClientConfig) -> Result<(), ConnectionError> {
        let mechanism = self.sasl_mechanism.as_deref();
        let takes_tokens = mechanism.is_some_and(|mechanism| mechanism == OAUTHBEARER);
        if self.oauth.oauth_token_url.is_some() && !takes_tokens {
            return Err(ConnectionError::OtherMechanism);
        }
        let Some(mechanism) = mechanism else {
            return Ok(());
        };
        config.set("sasl.mechanism", mechanism);
        if takes_tokens {
            let mut properties = self.properties.iter().chain(&self.property_files);
            let by_properties = properties.any(|(key, _)| key.starts_with(PROPERTY_PREFIX));
            return self.oauth.configure(config, by_properties);
        }
        let username = match &self.sasl_username_file {
            Some(file) => read_secret(file, "--sasl-username-file")?,
            None => self.sasl_username.clone().unwrap_or_default(),
        };
        config
            .set("sasl.username", username)
            .set("sasl.password", self.sasl_password()?);
        Ok(())
    }

    /// Sets the properties of `-X` and `--property-file`.
    fn set_properties(&self, config: &mut ClientConfig) -> Result<(), ConnectionError> {
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        for (key, file) in &self.property_files {
            config.set(key, read_secret(Path::new(file), "--property-file")?);
        }
        Ok(())
    }

    fn sasl_password(&self) -> Result<String, ConnectionError> {
        if let Some(path) = &self.sasl_password_file {
            return read_secret(path, "--sasl-password-file");
        }
        std::env::var("SUNDOWN_SASL_PASSWORD").map_err(|_| ConnectionError::NoPassword)
    }
}
