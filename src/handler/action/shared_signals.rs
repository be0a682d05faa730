//! `shared-signals`: pushes a CAEP 1.0 `session-revoked` event, in a signed security event token
//! (RFC 8417), to a receiver of the Shared Signals Framework (RFC 8935).

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
use super::signing::{KeyAlgorithm, SigningKeyConfig, SigningKeys};
use super::success::SuccessStatuses;
use super::{Action, ActionInput, Attempt, Jwk};
use crate::handler::event::{Reasons, TriggerEvent};
use crate::handler::fields::{
    ActionConfigError, ActionName, Literal, duration, require_encryption, url,
};
use crate::handler::secret::{Secret, SecretRef};
use crate::session::EndReason;
use crate::wire::time;
use subject::SubjectTemplate;

/// RFC 8417, section 2.3.
const TOKEN_TYPE: &str = "secevent+jwt";
/// RFC 8935, section 2.1.
const SET_CONTENT_TYPE: &str = "application/secevent+jwt";
const EVENT: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// A `shared-signals` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SharedSignalsConfig {
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    #[serde(default)]
    pub reasons: Reasons,
    /// The receiver's push endpoint.
    #[serde(deserialize_with = "url")]
    url: Url,
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
    /// Bounds one attempt, from connecting to the end of the response.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// PEM certificates of the trusted authorities, instead of those of the system.
    ca_file: Option<PathBuf>,
}

#[derive(Debug)]
pub struct SharedSignals {
    http_client: HttpClient,
    issuer: String,
    audience: String,
    subject: SubjectTemplate,
    keys: SigningKeys,
    bearer_token: Option<Secret>,
}

/// The claims of RFC 8417, section 2.2, and CAEP 1.0, section 2. There is no `exp`: past events
/// do not expire.
#[derive(Serialize)]
struct SecurityEventToken<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    jti: Uuid,
    sub_id: Value,
    events: Value,
}

/// The error of RFC 8935, section 2.3.
#[derive(Deserialize)]
struct PushErrorResponse {
    err: String,
    description: Option<String>,
}

impl SharedSignals {
    /// Reads the keys and creates the HTTP client.
    ///
    /// # Errors
    /// [`ActionConfigError`] if the keys are not valid, or the subject has no format.
    pub fn new(config: SharedSignalsConfig) -> Result<Self, ActionConfigError> {
        let name = &config.name;
        if !config.subject.has_format() {
            let problem = "needs a format, as in {format: opaque, id: '{{ user_id }}'}";
            return Err(ActionConfigError::field(name, "subject", problem));
        }
        if config.bearer_token.is_some() {
            require_encryption(name, "url", &config.url, config.insecure)?;
        }
        let token = config.bearer_token.as_ref();
        let token = token.map(|token| token.read_text_for(name, "bearerToken"));
        Ok(Self {
            keys: SigningKeys::read(name, &config.signing_keys, config.algorithm)?,
            http_client: HttpClient::new(
                name,
                config.url,
                config.timeout,
                config.ca_file.as_ref(),
            )?
            .with_success(config.success),
            issuer: config.issuer.into_string(),
            audience: config.audience.into_string(),
            subject: config.subject,
            bearer_token: token.transpose()?,
        })
    }

    async fn push(&self, input: ActionInput<'_>) -> Result<(), ActionError> {
        let claims = SecurityEventToken {
            iss: &self.issuer,
            aud: &self.audience,
            iat: self.http_client.now().as_millis() / 1000,
            jti: input.event.id(),
            sub_id: self.subject.render(&input.template_context())?,
            events: json!({ EVENT: session_revoked(input.event) }),
        };
        let token = self.keys.sign(TOKEN_TYPE, &claims)?;
        let request = self.http_client.post();
        let mut request = request
            .header(CONTENT_TYPE, SET_CONTENT_TYPE)
            .header(ACCEPT, "application/json")
            .body(token);
        if let Some(token) = &self.bearer_token {
            request = request.bearer_auth(token.expose_text().unwrap_or_default());
        }
        let response = self.http_client.send(request).await?;
        match response.json::<PushErrorResponse>() {
            Some(error) => response.check_status_quoting(&error.err, error.description.as_deref()),
            None => response.check_status(),
        }
    }
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
        Box::pin(self.push(input))
    }

    fn public_keys(&self) -> Vec<Jwk> {
        self.keys.public()
    }
}

#[cfg(test)]
mod tests;
