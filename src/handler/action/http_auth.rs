//! `auth`: how a webhook authenticates to its target.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::Jwk;
use super::error::{ActionError, Failure, Fault};
use super::http_client::{HttpClient, HttpResponse, OAuthErrorResponse};
use super::oauth_client::{OauthClient, OauthClientConfig};
use crate::handler::fields::{ActionConfigError, ActionName, Literal, require_encryption, url};
use crate::handler::secret::SecretRef;

/// The bytes of a token response that are read.
const MAX_TOKEN_RESPONSE_BYTES: usize = 64 * 1024;
/// A token is renewed this long before it expires, or at half of its lifetime if that is later.
const RENEWAL_MARGIN: Duration = Duration::from_secs(30);

/// The field `auth` of a webhook.
#[derive(Debug, Deserialize)]
#[serde(try_from = "HttpAuthFields")]
pub enum HttpAuthConfig {
    Basic(BasicConfig),
    Bearer(SecretRef),
    ClientCredentials(Box<ClientCredentialsConfig>),
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    expecting = "basic: {…}, bearer: {valueFrom: …} or oauth2ClientCredentials: {…}"
)]
struct HttpAuthFields {
    basic: Option<BasicConfig>,
    bearer: Option<SecretRef>,
    oauth2_client_credentials: Option<ClientCredentialsConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicConfig {
    username: Literal,
    password: SecretRef,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClientCredentialsConfig {
    /// The token endpoint.
    #[serde(deserialize_with = "url")]
    token_url: Url,
    client: OauthClientConfig,
    scope: Option<Literal>,
    /// Other fields of the token request, such as `audience` or `resource`.
    #[serde(default)]
    parameters: BTreeMap<String, Literal>,
}

/// Credentials for the `Authorization` header.
#[derive(Debug)]
pub enum HttpAuth {
    Fixed(HeaderValue),
    ClientCredentials(Box<TokenSource>),
}

/// Gets access tokens by the client credentials grant (RFC 6749, section 4.4), and keeps them.
#[derive(Debug)]
pub struct TokenSource {
    http_client: HttpClient,
    client: OauthClient,
    fields: Vec<(String, String)>,
    /// Held during a request, so that concurrent attempts share its token.
    cached: Mutex<Option<CachedToken>>,
}

#[derive(Debug)]
struct CachedToken {
    header: HeaderValue,
    /// When to renew it, by [`HttpClient::elapsed`]; `None` if its lifetime is
    /// unknown.
    renew_at: Option<Duration>,
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    expires_in: Option<u64>,
}

impl HttpAuth {
    /// Reads the secrets.
    ///
    /// # Errors
    /// [`ActionConfigError`] if one cannot be read, or would be sent without encryption.
    pub fn read(
        action: &ActionName,
        config: HttpAuthConfig,
        timeout: Duration,
        ca_file: Option<&PathBuf>,
        insecure: bool,
    ) -> Result<Self, ActionConfigError> {
        match config {
            HttpAuthConfig::Basic(BasicConfig { username, password }) => {
                let password = password.read_for(action, "auth.basic.password")?;
                let mut pair = username.into_string().into_bytes();
                if pair.contains(&b':') {
                    let problem = "must not contain a colon";
                    return Err(ActionConfigError::field(
                        action,
                        "auth.basic.username",
                        problem,
                    ));
                }
                pair.push(b':');
                pair.extend_from_slice(password.expose());
                let header = authorization("Basic", &BASE64_STANDARD.encode(pair));
                Ok(Self::Fixed(header.ok_or_else(|| not_a_header(action))?))
            }
            HttpAuthConfig::Bearer(token) => {
                let token = token.read_text_for(action, "auth.bearer")?;
                let header = authorization("Bearer", token.expose_text().unwrap_or_default());
                Ok(Self::Fixed(header.ok_or_else(|| not_a_header(action))?))
            }
            HttpAuthConfig::ClientCredentials(config) => {
                let field = "auth.oauth2ClientCredentials.tokenUrl";
                require_encryption(action, field, &config.token_url, insecure)?;
                let mut fields = vec![("grant_type".to_owned(), "client_credentials".to_owned())];
                fields.extend(
                    config
                        .scope
                        .map(|scope| ("scope".to_owned(), scope.into_string())),
                );
                let others = config.parameters.into_iter();
                fields.extend(others.map(|(name, value)| (name, value.into_string())));
                Ok(Self::ClientCredentials(Box::new(TokenSource {
                    http_client: HttpClient::new(action, config.token_url, timeout, ca_file)?,
                    client: OauthClient::read(action, config.client)?,
                    fields,
                    cached: Mutex::default(),
                })))
            }
        }
    }

    /// Sends a request with credentials, and once more with a renewed token if the target responds
    /// 401. Reads up to `limit` bytes of the response's body.
    ///
    /// # Errors
    /// [`ActionError`] if no token can be had, or no response arrives.
    pub async fn send(
        &self,
        http_client: &HttpClient,
        request: impl Fn() -> RequestBuilder,
        limit: usize,
    ) -> Result<HttpResponse, ActionError> {
        let authorized = |header: &HeaderValue| {
            http_client.send_and_read(request().header(AUTHORIZATION, header), limit)
        };
        let header = self.header().await?;
        let response = authorized(&header).await?;
        if response.status != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        match self.renewed(&header).await? {
            Some(renewed) => authorized(&renewed).await,
            None => Ok(response),
        }
    }

    /// Returns the value of the `Authorization` header, and gets a token first if necessary.
    async fn header(&self) -> Result<HeaderValue, ActionError> {
        match self {
            Self::Fixed(header) => Ok(header.clone()),
            Self::ClientCredentials(source) => source.header(None).await,
        }
    }

    /// Returns another value after the target has refused this one; `None` if there is no other.
    async fn renewed(&self, refused: &HeaderValue) -> Result<Option<HeaderValue>, ActionError> {
        match self {
            Self::Fixed(_) => Ok(None),
            Self::ClientCredentials(source) => source.header(Some(refused)).await.map(Some),
        }
    }

    /// The public keys with which the token endpoint verifies the client.
    #[must_use]
    pub fn public_keys(&self) -> Vec<Jwk> {
        match self {
            Self::Fixed(_) => Vec::new(),
            Self::ClientCredentials(source) => source.client.public_keys(),
        }
    }
}

impl TokenSource {
    async fn header(&self, refused: Option<&HeaderValue>) -> Result<HeaderValue, ActionError> {
        let mut cached = self.cached.lock().await;
        let now = self.http_client.elapsed();
        let usable = cached.as_ref().filter(|token| {
            refused != Some(&token.header) && token.renew_at.is_none_or(|at| now < at)
        });
        if let Some(token) = usable {
            return Ok(token.header.clone());
        }
        *cached = None;
        let token = self.request().await?;
        let header = token.header.clone();
        *cached = Some(token);
        Ok(header)
    }

    /// Requests a token. Refusals are a fault of the configuration, not of the event.
    async fn request(&self) -> Result<CachedToken, ActionError> {
        let failure = |error: ActionError| {
            let reason = format!("no token from the token endpoint: {}", error.reason);
            let failure = if error.fault == Fault::Target {
                Failure::Interrupted
            } else {
                Failure::NotConnected
            };
            ActionError::new(failure, reason).with_retry_after(error.retry_after)
        };
        let fields = self.fields.iter();
        let fields = fields.map(|(name, value)| (name.as_str(), value.as_str()));
        let request = self.client.authenticate(
            self.http_client.post(),
            fields.collect(),
            self.http_client.now(),
        )?;
        let asked = self.http_client.elapsed();
        let response = self
            .http_client
            .send_and_read(request, MAX_TOKEN_RESPONSE_BYTES);
        let response = response.await.map_err(failure)?;
        match response.json::<OAuthErrorResponse>() {
            Some(error) => {
                response.check_status_quoting(&error.error, error.error_description.as_deref())
            }
            None => response.check_status(),
        }
        .map_err(failure)?;
        let unusable = || {
            let reason = "the token endpoint's response has no access token";
            ActionError::new(Failure::NotConnected, reason)
        };
        let token: TokenResponse = response.json().ok_or_else(unusable)?;
        let lifetime = token.expires_in.map(Duration::from_secs);
        Ok(CachedToken {
            header: authorization("Bearer", &token.access_token).ok_or_else(unusable)?,
            renew_at: lifetime
                .map(|lifetime| asked + lifetime.saturating_sub(RENEWAL_MARGIN).max(lifetime / 2)),
        })
    }
}

fn authorization(scheme: &str, credentials: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("{scheme} {credentials}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

fn not_a_header(action: &ActionName) -> ActionConfigError {
    let problem = "contains characters that no header can carry";
    ActionConfigError::field(action, "auth", problem)
}

impl TryFrom<HttpAuthFields> for HttpAuthConfig {
    type Error = &'static str;

    fn try_from(fields: HttpAuthFields) -> Result<Self, Self::Error> {
        match fields {
            HttpAuthFields {
                basic: Some(basic),
                bearer: None,
                oauth2_client_credentials: None,
            } => Ok(Self::Basic(basic)),
            HttpAuthFields {
                basic: None,
                bearer: Some(bearer),
                oauth2_client_credentials: None,
            } => Ok(Self::Bearer(bearer)),
            HttpAuthFields {
                basic: None,
                bearer: None,
                oauth2_client_credentials: Some(config),
            } => Ok(Self::ClientCredentials(Box::new(config))),
            _ => Err("auth needs exactly one of basic, bearer and oauth2ClientCredentials"),
        }
    }
}

#[cfg(test)]
mod tests;
