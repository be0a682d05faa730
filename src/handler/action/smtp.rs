//! `smtp`: writes a mail to the user.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;
use std::{fs, io};

use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::{self, AsyncSmtpTransportBuilder};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::error::ActionError;
use super::http_client::default_timeout;
use super::{Action, Attempt, Delivery};
use crate::handler::event::Triggers;
use crate::handler::fields::{ActionConfigError, ActionName, duration, parsed};
use crate::handler::secret::SecretRef;
use crate::handler::template::Template;
use crate::http::client;

/// RFC 4954: wants authentication, or a better one, or refuses it.
const LOCKED_OUT: [&str; 5] = ["530", "534", "535", "538", "454"];

/// An `smtp` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// What policies and metrics call it.
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    /// When to run.
    #[serde(default)]
    pub on: Triggers,
    /// The mail server.
    server: Server,
    /// How to encrypt.
    #[serde(default)]
    tls: Encryption,
    /// Whom to log in as; without it, nobody logs in.
    username: Option<String>,
    /// What to log in with.
    password: Option<SecretRef>,
    /// Who writes.
    #[serde(deserialize_with = "mailbox")]
    from: Mailbox,
    /// To whom.
    to: Template,
    /// About what.
    subject: Template,
    /// And what.
    body: Template,
    /// For one attempt.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// Certificates of the authorities to trust, PEM, instead of the system's.
    ca_file: Option<PathBuf>,
}

#[derive(Debug)]
struct Server {
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encryption {
    /// Asked for before anything is said, and insisted upon (RFC 3207).
    #[default]
    Starttls,
    /// From the first byte (RFC 8314).
    Implicit,
    None,
}

/// Writes mails.
pub struct Smtp {
    server: AsyncSmtpTransportBuilder,
    /// Made when it is first needed: its pool wants a runtime.
    transport: OnceLock<AsyncSmtpTransport<Tokio1Executor>>,
    from: Mailbox,
    to: Template,
    subject: Template,
    body: Template,
    timeout: Duration,
}

impl Smtp {
    /// Fetches the password and makes the client; connects to nothing yet.
    ///
    /// # Errors
    /// [`ActionConfigError`] if the password or the certificates cannot be read, or the password
    /// would travel in the clear.
    pub fn new(config: Config) -> Result<Self, ActionConfigError> {
        client::install_crypto_provider();
        let name = &config.name;
        let mut server =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.server.host)
                .port(config.server.port)
                .tls(encryption(&config)?)
                .timeout(Some(config.timeout));
        match (&config.username, &config.password) {
            (None, None) => {}
            (Some(_), Some(_)) if config.tls == Encryption::None => {
                let problem = "none would send the password in the clear; use starttls or implicit";
                return Err(ActionConfigError::field(name, "tls", problem));
            }
            (Some(username), Some(password)) => {
                let password = password.read_text_for(name, "password")?;
                let password = password.expose_text().unwrap_or_default().to_owned();
                server = server.credentials(Credentials::new(username.clone(), password));
            }
            (Some(_), None) => {
                return Err(ActionConfigError::field(name, "password", "is missing"));
            }
            (None, Some(_)) => {
                return Err(ActionConfigError::field(name, "username", "is missing"));
            }
        }
        Ok(Self {
            server,
            transport: OnceLock::new(),
            from: config.from,
            to: config.to,
            subject: config.subject,
            body: config.body,
            timeout: config.timeout,
        })
    }

    async fn send(&self, delivery: Delivery<'_>) -> Result<(), ActionError> {
        let mail = self.compose(delivery)?;
        let transport = self.transport.get_or_init(|| self.server.clone().build());
        match tokio::time::timeout(self.timeout, transport.send(mail)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(explain(&error)),
            Err(_) => {
                let reason = format!("the mail was not taken within {:?}", self.timeout);
                Err(ActionError::retryable(reason))
            }
        }
    }

    fn compose(&self, delivery: Delivery<'_>) -> Result<Message, ActionError> {
        let facts = delivery.facts();
        let to = self.to.fill(&facts)?;
        let to: Mailbox = to.parse().map_err(|error| {
            ActionError::permanent(format!("what `to` comes to is no mail address: {error}"))
        })?;
        // The same in every attempt, so that a mailbox can tell repetitions.
        let id = format!("<{}@{}>", delivery.event.id(), self.from.email.domain());
        let mail = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(one_line(&self.subject.fill(&facts)?))
            .message_id(Some(id))
            .body(self.body.fill(&facts)?);
        mail.map_err(|error| ActionError::permanent(format!("not a mail: {error}")))
    }
}

impl Action for Smtp {
    fn run<'a>(&'a self, delivery: Delivery<'a>) -> Attempt<'a> {
        Box::pin(self.send(delivery))
    }
}

fn encryption(config: &Config) -> Result<Tls, ActionConfigError> {
    let name = &config.name;
    if config.tls == Encryption::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(config.server.host.clone());
    if let Some(path) = &config.ca_file {
        let problem = |error: String| {
            let problem = format!("cannot use {}: {error}", path.display());
            ActionConfigError::field(name, "caFile", problem)
        };
        let pem = fs::read(path).map_err(|error| problem(error.to_string()))?;
        let authority = Certificate::from_pem(&pem).map_err(|error| problem(error.to_string()))?;
        parameters = parameters
            .certificate_store(CertificateStore::None)
            .add_root_certificate(authority);
    }
    let parameters = parameters.build();
    let parameters =
        parameters.map_err(|error| ActionConfigError::field(name, "tls", error.to_string()))?;
    Ok(match config.tls {
        Encryption::Implicit => Tls::Wrapper(parameters),
        Encryption::Starttls | Encryption::None => Tls::Required(parameters),
    })
}

fn explain(error: &smtp::Error) -> ActionError {
    let mut reason = error.to_string();
    let mut cause = error.source();
    let mut refused = false;
    while let Some(deeper) = cause {
        let text = deeper.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        let io = deeper.downcast_ref::<io::Error>();
        refused |= io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused);
        cause = deeper.source();
    }
    let code = error.status().map(|code| code.to_string());
    let locked_out = code.is_some_and(|code| LOCKED_OUT.contains(&code.as_str()));
    if refused || locked_out || error.is_tls() || error.is_client() {
        // (`is_client`: the server offers no STARTTLS, or no way to log in.)
        ActionError::unreachable(reason)
    } else if error.is_permanent() {
        ActionError::permanent(reason)
    } else {
        ActionError::retryable(reason)
    }
}

/// Nothing that an event says may become another header.
fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        parsed(field, "HOST:PORT", |text| {
            let parts = text.rsplit_once(':');
            let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
            match parts {
                Some((host, port)) if !host.is_empty() => Ok(Self {
                    host: host.to_owned(),
                    port,
                }),
                _ => Err(format!("'{text}' is not of the form HOST:PORT")),
            }
        })
    }
}

fn mailbox<'de, D: Deserializer<'de>>(field: D) -> Result<Mailbox, D::Error> {
    parsed(field, "a mail address", |text| {
        let mailbox = text.parse();
        mailbox.map_err(|error| format!("'{text}' is no mail address: {error}"))
    })
}
