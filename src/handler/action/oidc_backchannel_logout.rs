//! `oidc-backchannel-logout`: sends a signed logout token to a relying party (OpenID Connect
//! Back-Channel Logout 1.0).

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::ActionError;
use super::http_client::{FORM, HttpClient, OAuthErrorResponse, default_timeout, form};
use super::signing::{KeyAlgorithm, SigningKeyConfig, SigningKeys};
use super::success::SuccessStatuses;
use super::{Action, ActionInput, Attempt, Jwk};
use crate::handler::event::Reasons;
use crate::handler::fields::{ActionConfigError, ActionName, Literal, duration, url};
use crate::handler::template::Template;

/// The lifetime of a token, in seconds: "preferably at most two minutes" (section 2.4).
const LIFETIME: i64 = 120;
/// Explicit typing (section 2.4): other tokens do not pass as logout tokens.
const TOKEN_TYPE: &str = "logout+jwt";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// An `oidc-backchannel-logout` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OidcBackchannelLogoutConfig {
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    #[serde(default)]
    pub reasons: Reasons,
    /// The relying party's `backchannel_logout_uri`.
    #[serde(deserialize_with = "url")]
    url: Url,
    /// The issuer of the relying party's ID tokens.
    issuer: Literal,
    /// The relying party's client id.
    audience: Literal,
    /// The subject of the ID tokens.
    sub: Option<Template>,
    /// The session id in the ID tokens.
    sid: Option<Template>,
    /// The relying party's `id_token_signed_response_alg`; by default that of the first key.
    algorithm: Option<KeyAlgorithm>,
    /// The first key of `algorithm` signs; all are published.
    signing_keys: Vec<SigningKeyConfig>,
    #[serde(default)]
    success: SuccessStatuses,
    /// Bounds one attempt, from connecting to the end of the response.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// PEM certificates of the trusted authorities, instead of those of the system.
    ca_file: Option<PathBuf>,
}

#[derive(Debug)]
pub struct OidcBackchannelLogout {
    http_client: HttpClient,
    issuer: String,
    audience: String,
    sub: Option<Template>,
    sid: Option<Template>,
    keys: SigningKeys,
}

/// The claims of section 2.4, which forbids `nonce`.
#[derive(Serialize)]
struct LogoutToken<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    /// New in each attempt: relying parties refuse a `jti` that they have seen (section 2.6), even
    /// if their response to it was lost.
    jti: Uuid,
    events: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
}

impl OidcBackchannelLogout {
    /// Reads the keys and creates the HTTP client.
    ///
    /// # Errors
    /// [`ActionConfigError`] if the keys are not valid, or both `sub` and `sid` are missing.
    pub fn new(config: OidcBackchannelLogoutConfig) -> Result<Self, ActionConfigError> {
        let name = &config.name;
        if config.sub.is_none() && config.sid.is_none() {
            let problem = "needs sub, sid or both: a logout token identifies a user or a \
                           session";
            return Err(ActionConfigError::field(name, "sid", problem));
        }
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
            sub: config.sub,
            sid: config.sid,
        })
    }

    async fn send(&self, input: ActionInput<'_>) -> Result<(), ActionError> {
        let context = input.template_context();
        let render = |template: &Option<Template>| {
            let rendered = template.as_ref().map(|template| template.render(&context));
            rendered.transpose()
        };
        let now = self.http_client.now().as_millis() / 1000;
        let claims = LogoutToken {
            iss: &self.issuer,
            aud: &self.audience,
            iat: now,
            exp: now + LIFETIME,
            jti: Uuid::new_v4(),
            events: json!({ EVENT: {} }),
            sub: render(&self.sub)?,
            sid: render(&self.sid)?,
        };
        let token = self.keys.sign(TOKEN_TYPE, &claims)?;
        let request = self.http_client.post();
        let request = request
            .header(CONTENT_TYPE, FORM)
            .header(CACHE_CONTROL, "no-store")
            .body(form(&[("logout_token", &token)]));
        let response = self.http_client.send(request).await?;
        match response.json::<OAuthErrorResponse>() {
            Some(error) => {
                response.check_status_quoting(&error.error, error.error_description.as_deref())
            }
            None => response.check_status(),
        }
    }
}

impl Action for OidcBackchannelLogout {
    fn run<'a>(&'a self, input: ActionInput<'a>) -> Attempt<'a> {
        Box::pin(self.send(input))
    }

    fn public_keys(&self) -> Vec<Jwk> {
        self.keys.public()
    }
}

#[cfg(test)]
mod tests;
