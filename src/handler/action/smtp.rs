//! `smtp`: sends a mail to the user.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use lettre::address::Address;
use lettre::message::{Mailbox, Message, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::{self, AsyncSmtpTransportBuilder};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::error::{ActionError, Failure, Fault};
use super::http_client::default_timeout;
use super::{Action, ActionInput, Attempt};
use crate::handler::event::{Reasons, Triggers};
use crate::handler::fields::{ActionConfigError, ActionName, Literal, duration, parsed};
use crate::handler::secret::SecretRef;
use crate::handler::template::Template;
use crate::http::{authorities, client};

/// Part of lettre's error for a mail that needs an extension that the server lacks.
const NEEDS_EXTENSION: &str = "non-ascii chars";
/// The start of lettre's error for a name, a connection or a TLS handshake that fails.
const CONNECTION_ERROR: &str = "Connection error";

/// An `smtp` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SmtpConfig {
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    #[serde(default)]
    pub on: Triggers,
    #[serde(default)]
    pub reasons: Reasons,
    server: SmtpServer,
    #[serde(default)]
    tls: SmtpEncryption,
    /// The user; without it, the handler does not authenticate.
    username: Option<Literal>,
    password: Option<SecretRef>,
    #[serde(deserialize_with = "mailbox")]
    from: Mailbox,
    to: Template,
    subject: Template,
    body: Template,
    /// Bounds one attempt.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// PEM certificates of the trusted authorities, instead of those of the system.
    ca_file: Option<PathBuf>,
}

#[derive(Debug)]
struct SmtpServer {
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SmtpEncryption {
    /// Required before any other command (RFC 3207).
    #[default]
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Implicit,
    None,
}

pub struct Smtp {
    server: AsyncSmtpTransportBuilder,
    /// Created on first use, because its pool needs a runtime.
    transport: OnceLock<AsyncSmtpTransport<Tokio1Executor>>,
    from: Mailbox,
    to: Template,
    subject: Template,
    body: Template,
    timeout: Duration,
}

impl Smtp {
    /// Reads the password and creates the client, without connecting.
    ///
    /// # Errors
    /// [`ActionConfigError`] if the password or the certificates cannot be read, or the password
    /// would be sent without encryption.
    pub fn new(config: SmtpConfig) -> Result<Self, ActionConfigError> {
        client::install_crypto_provider();
        let name = &config.name;
        let mut server =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.server.host)
                .port(config.server.port)
                .tls(encryption(&config)?)
                .timeout(Some(config.timeout));
        match (&config.username, &config.password) {
            (None, None) => {}
            (Some(_), Some(_)) if config.tls == SmtpEncryption::None => {
                let problem =
                    "none would send the password without encryption; use starttls or implicit";
                return Err(ActionConfigError::field(name, "tls", problem));
            }
            (Some(username), Some(password)) => {
                let password = password.read_text_for(name, "password")?;
                let password = password.expose_text().unwrap_or_default().to_owned();
                server =
                    server.credentials(Credentials::new(username.clone().into_string(), password));
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
            from: with_ascii_domain(config.from),
            to: config.to,
            subject: config.subject,
            body: config.body,
            timeout: config.timeout,
        })
    }

    async fn send(&self, input: ActionInput<'_>) -> Result<(), ActionError> {
        let mail = self.compose(input)?;
        let transport = self.transport.get_or_init(|| self.server.clone().build());
        let attempt = tokio::time::timeout(self.timeout, deliver(transport, mail));
        attempt.await.unwrap_or_else(|_| {
            let reason = format!(
                "the server did not accept the mail within {:?}",
                self.timeout
            );
            Err(ActionError::new(Failure::TimedOut, reason))
        })
    }

    fn compose(&self, input: ActionInput<'_>) -> Result<Message, ActionError> {
        let context = input.template_context();
        let to = self.to.render(&context)?;
        let to: Mailbox = to.parse().map_err(|error| {
            let reason = format!("`to` does not render to a mail address: {error}");
            ActionError::new(Failure::NotEncoded, reason)
        })?;
        let to = with_ascii_domain(to);
        // Equal in all attempts, so that mailboxes can detect duplicates.
        let id = format!("<{}@{}>", input.event.id(), self.from.email.domain());
        let mail = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(one_line(&self.subject.render(&context)?))
            .message_id(Some(id))
            .singlepart(SinglePart::plain(self.body.render(&context)?));
        mail.map_err(|error| ActionError::new(Failure::NotEncoded, format!("not a mail: {error}")))
    }
}

impl Action for Smtp {
    fn run<'a>(&'a self, input: ActionInput<'a>) -> Attempt<'a> {
        Box::pin(self.send(input))
    }
}

fn encryption(config: &SmtpConfig) -> Result<Tls, ActionConfigError> {
    let name = &config.name;
    if config.tls == SmtpEncryption::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(config.server.host.clone());
    if let Some(path) = &config.ca_file {
        let problem = |error: String| ActionConfigError::field(name, "caFile", error);
        let pem = authorities::read(path, Some(&config.server.host))
            .map_err(|error| problem(format!("{error:#}")))?;
        let authority = Certificate::from_pem(&pem).map_err(|error| problem(error.to_string()))?;
        parameters = parameters
            .certificate_store(CertificateStore::None)
            .add_root_certificate(authority);
    }
    let parameters = parameters.build();
    let parameters =
        parameters.map_err(|error| ActionConfigError::field(name, "tls", error.to_string()))?;
    Ok(match config.tls {
        SmtpEncryption::Implicit => Tls::Wrapper(parameters),
        SmtpEncryption::Starttls | SmtpEncryption::None => Tls::Required(parameters),
    })
}

async fn deliver(
    transport: &AsyncSmtpTransport<Tokio1Executor>,
    mail: Message,
) -> Result<(), ActionError> {
    // Opens a connection if there is none: a server that refuses it (RFC 5321, section 3.1) replies
    // as it does to a mail that it refuses.
    if let Err(error) = transport.test_connection().await {
        let failed = classify(&error);
        if failed.fault == Fault::Event {
            let reason = format!("the server refuses connections: {}", failed.reason);
            return Err(ActionError::new(Failure::NotConnected, reason));
        }
        return Err(failed);
    }
    let sent = transport.send(mail).await;
    sent.map(|_| ()).map_err(|error| classify(&error))
}

fn classify(error: &smtp::Error) -> ActionError {
    let reason = describe(error);
    let code = error.status().map(u16::from);
    let failure = match code {
        Some(code) => Failure::Smtp { code },
        None if error.is_client() && reason.contains(NEEDS_EXTENSION) => Failure::NotEncoded,
        // `is_client`: the server offers no STARTTLS or no supported authentication.
        None if error.is_tls() || error.is_client() || reason.starts_with(CONNECTION_ERROR) => {
            Failure::NotConnected
        }
        None => Failure::Interrupted,
    };
    ActionError::new(failure, reason)
}

/// Describes an error with all its causes.
fn describe(error: &smtp::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let more = deeper.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = deeper.source();
    }
    text
}

/// Encodes an international domain (RFC 5890), so that the address needs no SMTPUTF8 for it.
fn with_ascii_domain(mailbox: Mailbox) -> Mailbox {
    let domain = idna::domain_to_ascii(mailbox.email.domain()).ok();
    let address = domain.and_then(|domain| Address::new(mailbox.email.user(), domain).ok());
    match address {
        Some(address) => Mailbox::new(mailbox.name, address),
        None => mailbox,
    }
}

/// Replaces control characters, so that event fields cannot inject headers.
fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

impl<'de> Deserialize<'de> for SmtpServer {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        parsed(field, "HOST:PORT", |text| {
            let parts = text.rsplit_once(':');
            let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
            match parts {
                // IPv6 addresses have brackets before a port.
                Some((host, port)) if !host.is_empty() => Ok(Self {
                    host: host.trim_matches(['[', ']']).to_owned(),
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
        mailbox.map_err(|error| format!("'{text}' is not a mail address: {error}"))
    })
}

#[cfg(test)]
mod tests;
