//! `shared-signals`: tells a receiver of the Shared Signals Framework that a session is
//! over: a CAEP 1.0 `session-revoked` event in a signed security event token (RFC 8417),
//! pushed (RFC 8935).

mod subject;

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::ActionError;
use super::http_client::{HttpClient, default_timeout};
use super::signing::{KeyConfig, SigningKeys};
use super::{Action, Attempt, Delivery, Jwk};
use crate::handler::event::Event;
use crate::handler::fields::{ActionConfigError, ActionName, duration, url};
use crate::handler::secret::{Secret, SecretRef};
use crate::wire::terminal::EndReason;
use crate::wire::time;
use subject::Subject;

/// RFC 8417, section 2.3.
const TOKEN_TYPE: &str = "secevent+jwt";
/// RFC 8935, section 2.1.
const CONTENT: &str = "application/secevent+jwt";
const EVENT: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// A `shared-signals` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// What policies and metrics call it.
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    /// The receiver's push endpoint.
    #[serde(deserialize_with = "url")]
    url: Url,
    /// Who we are.
    issuer: String,
    /// Whom it is for.
    audience: String,
    /// Whose session it was: a subject identifier (RFC 9493) of templates.
    subject: Subject,
    /// The first signs, all are published.
    signing_keys: Vec<KeyConfig>,
    /// What the receiver knows us by.
    bearer_token: Option<SecretRef>,
    /// For one attempt, from connecting to the end of the answer.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// Certificates of the authorities to trust, PEM, instead of the system's.
    ca_file: Option<PathBuf>,
}

/// Pushes security event tokens.
#[derive(Debug)]
pub struct SharedSignals {
    caller: HttpClient,
    issuer: String,
    audience: String,
    subject: Subject,
    keys: SigningKeys,
    bearer_token: Option<Secret>,
}

/// RFC 8417, section 2.2, and CAEP 1.0, section 2. There is no `exp`: what has happened
/// does not cease to be true.
#[derive(Serialize)]
struct SecurityEvent<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    jti: Uuid,
    sub_id: Value,
    events: Value,
}

/// RFC 8935, section 2.3.
#[derive(Deserialize)]
struct ErrorResponse {
    err: String,
    description: Option<String>,
}

impl SharedSignals {
    /// Reads the keys and makes the client.
    ///
    /// # Errors
    /// [`ActionConfigError`] if the keys cannot be used, or the subject is no subject identifier.
    pub fn new(config: Config) -> Result<Self, ActionConfigError> {
        let name = &config.name;
        if !config.subject.has_format() {
            let problem = "needs a format, as in {format: opaque, id: '{{ user_id }}'}";
            return Err(ActionConfigError::field(name, "subject", problem));
        }
        let token = config.bearer_token.as_ref();
        let token = token.map(|token| token.read_text_for(name, "bearerToken"));
        Ok(Self {
            keys: SigningKeys::read(name, &config.signing_keys)?,
            caller: HttpClient::new(name, config.url, config.timeout, config.ca_file.as_ref())?,
            issuer: config.issuer,
            audience: config.audience,
            subject: config.subject,
            bearer_token: token.transpose()?,
        })
    }

    async fn push(&self, delivery: Delivery<'_>) -> Result<(), ActionError> {
        let claims = SecurityEvent {
            iss: &self.issuer,
            aud: &self.audience,
            iat: self.caller.now().as_millis() / 1000,
            jti: delivery.event.id(),
            sub_id: self.subject.fill(&delivery.facts())?,
            events: json!({ EVENT: session_revoked(delivery.event) }),
        };
        let token = self.keys.sign(TOKEN_TYPE, &claims)?;
        let request = self.caller.post();
        let mut request = request
            .header(CONTENT_TYPE, CONTENT)
            .header(ACCEPT, "application/json")
            .body(token);
        if let Some(token) = &self.bearer_token {
            request = request.bearer_auth(token.expose_text().unwrap_or_default());
        }
        let answer = self.caller.send(request).await?;
        match answer.json::<ErrorResponse>() {
            Some(said) => answer.verdict_quoting(&said.err, said.description.as_deref()),
            None => answer.verdict(),
        }
    }
}

/// CAEP 1.0, sections 2 and 3.1.
fn session_revoked(event: &Event) -> Value {
    let reason = event.reason();
    let initiating_entity = match reason {
        EndReason::IdleTimeout | EndReason::AbsoluteTimeout => "policy",
        EndReason::Logout => "user",
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
    fn run<'a>(&'a self, delivery: Delivery<'a>) -> Attempt<'a> {
        Box::pin(self.push(delivery))
    }

    fn public_keys(&self) -> Vec<Jwk> {
        self.keys.public()
    }
}

#[cfg(test)]
mod tests;
