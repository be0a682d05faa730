//! `oidc-backchannel-logout`: tells a relying party with a signed logout token (OpenID
//! Connect Back-Channel Logout 1.0).

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::ActionError;
use super::http_client::{FORM, HttpClient, default_timeout, form};
use super::signing::{KeyConfig, SigningKeys};
use super::{Action, Attempt, Delivery, Jwk};
use crate::handler::fields::{ActionConfigError, ActionName, duration, url};
use crate::handler::template::Template;

/// How long a token holds, in seconds: "preferably at most two minutes" (section 2.4).
const LIFETIME: i64 = 120;
/// Explicit typing (section 2.4), so that no other token passes for a logout token.
const TOKEN_TYPE: &str = "logout+jwt";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// An `oidc-backchannel-logout` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// What policies and metrics call it.
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    /// The relying party's `backchannel_logout_uri`.
    #[serde(deserialize_with = "url")]
    url: Url,
    /// Who we are to it: the issuer of its ID tokens.
    issuer: String,
    /// Its client id.
    audience: String,
    /// The subject of its ID tokens.
    sub: Option<Template>,
    /// The session id in its ID tokens.
    sid: Option<Template>,
    /// The first signs, all are published.
    signing_keys: Vec<KeyConfig>,
    /// For one attempt, from connecting to the end of the answer.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// Certificates of the authorities to trust, PEM, instead of the system's.
    ca_file: Option<PathBuf>,
}

/// Tells a relying party.
#[derive(Debug)]
pub struct OidcBackchannelLogout {
    caller: HttpClient,
    issuer: String,
    audience: String,
    sub: Option<Template>,
    sid: Option<Template>,
    keys: SigningKeys,
}

/// Section 2.4. There is no `nonce`, and there must not be.
#[derive(Serialize)]
struct LogoutToken<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: Uuid,
    events: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
}

/// What a relying party may say about an error (section 2.8).
#[derive(Deserialize)]
struct ErrorResponse {
    error: String,
    error_description: Option<String>,
}

impl OidcBackchannelLogout {
    /// Reads the keys and makes the client.
    ///
    /// # Errors
    /// [`ActionConfigError`] if the keys cannot be used, or tokens would name nothing.
    pub fn new(config: Config) -> Result<Self, ActionConfigError> {
        let name = &config.name;
        if config.sub.is_none() && config.sid.is_none() {
            let problem = "needs sub, sid or both: a logout token has to say whose or which \
                           session is over";
            return Err(ActionConfigError::field(name, "sid", problem));
        }
        Ok(Self {
            keys: SigningKeys::read(name, &config.signing_keys)?,
            caller: HttpClient::new(name, config.url, config.timeout, config.ca_file.as_ref())?,
            issuer: config.issuer,
            audience: config.audience,
            sub: config.sub,
            sid: config.sid,
        })
    }

    async fn tell(&self, delivery: Delivery<'_>) -> Result<(), ActionError> {
        let facts = delivery.facts();
        let fill = |template: &Option<Template>| {
            let filled = template.as_ref().map(|template| template.fill(&facts));
            filled.transpose()
        };
        let now = self.caller.now().as_millis() / 1000;
        let claims = LogoutToken {
            iss: &self.issuer,
            aud: &self.audience,
            iat: now,
            exp: now + LIFETIME,
            jti: delivery.event.id(),
            events: json!({ EVENT: {} }),
            sub: fill(&self.sub)?,
            sid: fill(&self.sid)?,
        };
        let token = self.keys.sign(TOKEN_TYPE, &claims)?;
        let request = self.caller.post();
        let request = request
            .header(CONTENT_TYPE, FORM)
            .header(CACHE_CONTROL, "no-store")
            .body(form(&[("logout_token", &token)]));
        let answer = self.caller.send(request).await?;
        match answer.json::<ErrorResponse>() {
            Some(said) => answer.verdict_quoting(&said.error, said.error_description.as_deref()),
            None => answer.verdict(),
        }
    }
}

impl Action for OidcBackchannelLogout {
    fn run<'a>(&'a self, delivery: Delivery<'a>) -> Attempt<'a> {
        Box::pin(self.tell(delivery))
    }

    fn public_keys(&self) -> Vec<Jwk> {
        self.keys.public()
    }
}

#[cfg(test)]
mod tests;
