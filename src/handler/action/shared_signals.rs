//! `shared-signals`: delivers a CAEP 1.0 `session-revoked` event, in a signed security event token
//! (RFC 8417), to a receiver of the Shared Signals Framework: by push (RFC 8935), or when the
//! receiver polls (RFC 8936).

pub mod poll_queue;
pub mod stream;
mod subject;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::error::ActionError;
use super::http_client::{HttpClient, default_timeout};
use super::signing::{KeyAlgorithm, SigningKeyConfig, SigningKeys};
use super::success::SuccessStatuses;
use super::{Action, ActionInput, Attempt, Jwk};
use crate::handler::event::{Reasons, TriggerEvent};
use crate::handler::fields::{
    ActionConfigError, ActionName, Literal, duration, require_encryption, url,
};
use crate::handler::secret::SecretRef;
use crate::session::EndReason;
use crate::wire::time;
use poll_queue::PollQueue;
use stream::{EVENT, PushReceiver, SignalDelivery, SignalStream, SignalStreamSettings};
use subject::SubjectTemplate;

/// The default of `timeout` if the receiver polls: longer than it pauses between two polls.
const DEFAULT_POLL_TIMEOUT: Duration = Duration::from_secs(120);

/// A `shared-signals` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SharedSignalsConfig {
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    #[serde(default)]
    pub reasons: Reasons,
    /// The receiver's push endpoint. Without it, the receiver polls.
    #[serde(default, deserialize_with = "some_url")]
    url: Option<Url>,
    /// Lets the receiver see its stream, and poll.
    stream: Option<StreamConfig>,
    issuer: Literal,
    /// The receiver.
    audience: Literal,
    /// The subject identifier (RFC 9493) of the session.
    subject: SubjectTemplate,
    /// By default that of the first key.
    algorithm: Option<KeyAlgorithm>,
    /// The first key of `algorithm` signs; all are published.
    signing_keys: Vec<SigningKeyConfig>,
    /// Allows `bearerToken` over `http://`.
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    success: SuccessStatuses,
    /// Authenticates the handler to the receiver.
    bearer_token: Option<SecretRef>,
    /// Bounds one attempt: from connecting to the end of the response, or until the receiver has
    /// fetched and acknowledged the token.
    #[serde(default, deserialize_with = "some_duration")]
    timeout: Option<Duration>,
    /// PEM certificates of the trusted authorities, instead of those of the system.
    ca_file: Option<PathBuf>,
}

/// The field `stream`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamConfig {
    /// Authenticates the receiver at the endpoints of its stream.
    token: SecretRef,
}

#[derive(Debug)]
pub struct SharedSignals {
    stream: Arc<SignalStream>,
    subject: SubjectTemplate,
}

impl SharedSignals {
    /// Reads the keys and tokens and creates the HTTP client.
    ///
    /// # Errors
    /// [`ActionConfigError`] if the keys are not valid, the subject has no format, or fields
    /// contradict each other.
    pub fn new(config: SharedSignalsConfig) -> Result<Self, ActionConfigError> {
        let name = config.name.clone();
        if !config.subject.has_format() {
            let problem = "needs a format, as in {format: opaque, id: '{{ user_id }}'}";
            return Err(ActionConfigError::field(&name, "subject", problem));
        }
        let receiver_token = config.stream.as_ref();
        let receiver_token =
            receiver_token.map(|stream| stream.token.read_for(&name, "stream.token"));
        let keys = SigningKeys::read(&name, &config.signing_keys, config.algorithm)?;
        let (issuer, audience) = (config.issuer.clone(), config.audience.clone());
        let (subject, timeout) = (config.subject.clone(), config.timeout);
        let settings = SignalStreamSettings {
            delivery: delivery(config)?,
            issuer: issuer.into_string(),
            audience: audience.into_string(),
            keys,
            timeout: timeout.unwrap_or(DEFAULT_POLL_TIMEOUT),
            receiver_token: receiver_token.transpose()?,
            name,
        };
        let stream = Arc::new(SignalStream::new(settings));
        Ok(Self { stream, subject })
    }

    async fn deliver(&self, input: ActionInput<'_>) -> Result<(), ActionError> {
        let subject = self.subject.render(&input.template_context())?;
        let events = json!({ EVENT: session_revoked(input.event) });
        self.stream.deliver(input.event.id(), subject, events).await
    }
}

fn delivery(config: SharedSignalsConfig) -> Result<SignalDelivery, ActionConfigError> {
    let name = &config.name;
    let Some(url) = config.url else {
        let problem = if config.stream.is_none() {
            "is missing; without it the receiver polls, and needs stream"
        } else if config.bearer_token.is_some() || config.ca_file.is_some() {
            "is missing; bearerToken and caFile belong to it"
        } else {
            return Ok(SignalDelivery::Poll(PollQueue::default()));
        };
        return Err(ActionConfigError::field(name, "url", problem));
    };
    if config.bearer_token.is_some() {
        require_encryption(name, "url", &url, config.insecure)?;
    }
    let token = config.bearer_token.as_ref();
    let token = token.map(|token| token.read_text_for(name, "bearerToken"));
    let timeout = config.timeout.unwrap_or(default_timeout());
    let http_client = HttpClient::new(name, url, timeout, config.ca_file.as_ref())?;
    Ok(SignalDelivery::Push(Box::new(PushReceiver {
        http_client: http_client.with_success(config.success),
        bearer_token: token.transpose()?,
    })))
}

/// The event of CAEP 1.0, sections 2 and 3.1.
fn session_revoked(event: &TriggerEvent) -> Value {
    let reason = event.reason();
    let initiating_entity = match reason {
        EndReason::IdleTimeout | EndReason::AbsoluteTimeout | EndReason::SessionLimit => "policy",
        EndReason::Logout => "user",
        EndReason::Rotated => "system",
        EndReason::Revoked => "admin",
    };
    let policy = &event.policy().name;
    let mut claims = json!({
        "initiating_entity": initiating_entity,
        "reason_admin": { "en": format!("{} under the policy {policy}", reason.as_str()) },
    });
    if let Some(at) = time::parse(event.ends_at()) {
        claims["event_timestamp"] = (at.as_millis() / 1000).into();
    }
    claims
}

impl Action for SharedSignals {
    fn run<'a>(&'a self, input: ActionInput<'a>) -> Attempt<'a> {
        Box::pin(self.deliver(input))
    }

    fn public_keys(&self) -> Vec<Jwk> {
        self.stream.public_keys()
    }

    fn stream(&self) -> Option<&Arc<SignalStream>> {
        self.stream.is_visible().then_some(&self.stream)
    }
}

fn some_url<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Url>, D::Error> {
    url(field).map(Some)
}

fn some_duration<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Duration>, D::Error> {
    duration(field).map(Some)
}

#[cfg(test)]
mod tests;
