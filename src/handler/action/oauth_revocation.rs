//! `oauth-revocation`: revokes a token at an authorization server (RFC 7009).

use std::path::PathBuf;
use std::time::Duration;

use form_urlencoded::byte_serialize;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{RequestBuilder, Url};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::ActionError;
use super::http_client::{
    FORM, HttpClient, HttpResponse, OAuthErrorResponse, default_timeout, form,
};
use super::signing::{SigningKeyConfig, SigningKeys};
use super::{Action, ActionInput, Attempt, Jwk};
use crate::handler::fields::{ActionConfigError, ActionName, duration, url};
use crate::handler::secret::{Secret, SecretRef};
use crate::handler::template::Template;

/// The lifetime of a client assertion, in seconds: covers a request and some clock skew.
const ASSERTION_LIFETIME: i64 = 60;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An `oauth-revocation` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OauthRevocationConfig {
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    /// The revocation endpoint.
    #[serde(deserialize_with = "url")]
    url: Url,
    token: Template,
    /// `access_token` or `refresh_token`, a hint to the server.
    token_type_hint: Option<String>,
    /// The client that authenticates.
    client: OauthClientConfig,
    /// Bounds one attempt, from connecting to the end of the response.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// PEM certificates of the trusted authorities, instead of those of the system.
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OauthClientConfig {
    id: String,
    method: ClientAuthMethod,
    secret: Option<SecretRef>,
    #[serde(default)]
    signing_keys: Vec<SigningKeyConfig>,
    audience: Option<String>,
}

/// The methods of OpenID Connect Core 1.0, section 9, that need a single request.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClientAuthMethod {
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
    None,
}

#[derive(Debug)]
pub struct OauthRevocation {
    http_client: HttpClient,
    token: Template,
    hint: Option<String>,
    client: String,
    auth: ClientAuth,
}

/// The credentials of an authentication method.
#[derive(Debug)]
enum ClientAuth {
    Basic(Secret),
    Post(Secret),
    Assertion {
        keys: Box<SigningKeys>,
        audience: String,
    },
    None,
}

/// The claims of RFC 7523, section 3.
#[derive(Serialize)]
struct ClientAssertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: Uuid,
    iat: i64,
    exp: i64,
}

impl OauthRevocation {
    /// Reads the secrets and keys and creates the HTTP client.
    ///
    /// # Errors
    /// [`ActionConfigError`] if one of them cannot be read, or they do not match the method.
    pub fn new(config: OauthRevocationConfig) -> Result<Self, ActionConfigError> {
        let OauthRevocationConfig {
            name, client, url, ..
        } = config;
        let audience = client.audience.unwrap_or_else(|| url.to_string());
        let auth = match (client.method, &client.secret, &client.signing_keys[..]) {
            (ClientAuthMethod::ClientSecretBasic, Some(secret), []) => {
                ClientAuth::Basic(secret.read_text_for(&name, "client.secret")?)
            }
            (ClientAuthMethod::ClientSecretPost, Some(secret), []) => {
                ClientAuth::Post(secret.read_text_for(&name, "client.secret")?)
            }
            (ClientAuthMethod::PrivateKeyJwt, None, keys) => ClientAuth::Assertion {
                keys: Box::new(SigningKeys::read(&name, keys)?),
                audience,
            },
            (ClientAuthMethod::None, None, []) => ClientAuth::None,
            _ => {
                let problem = "client_secret_basic and client_secret_post need a secret only, \
                               private_key_jwt needs signingKeys only, none needs neither";
                return Err(ActionConfigError::field(&name, "client", problem));
            }
        };
        Ok(Self {
            http_client: HttpClient::new(&name, url, config.timeout, config.ca_file.as_ref())?,
            token: config.token,
            hint: config.token_type_hint,
            client: client.id,
            auth,
        })
    }

    async fn revoke(&self, input: ActionInput<'_>) -> Result<(), ActionError> {
        let token = self.token.render(&input.template_context())?;
        let request = self.request(&token)?;
        check(&self.http_client.send(request).await?)
    }

    fn request(&self, token: &str) -> Result<RequestBuilder, ActionError> {
        let mut fields = vec![("token", token)];
        if let Some(hint) = &self.hint {
            fields.push(("token_type_hint", hint));
        }
        let assertion;
        let mut request = self.http_client.post();
        match &self.auth {
            ClientAuth::Basic(secret) => {
                // RFC 6749, section 2.3.1: both are form-encoded first.
                let encode = |text: &[u8]| byte_serialize(text).collect::<String>();
                let (user, password) = (encode(self.client.as_bytes()), encode(secret.expose()));
                request = request.basic_auth(user, Some(password));
            }
            ClientAuth::Post(secret) => {
                fields.push(("client_id", &self.client));
                fields.push(("client_secret", secret.expose_text().unwrap_or_default()));
            }
            ClientAuth::Assertion { keys, audience } => {
                assertion = keys.sign("JWT", &self.assertion(audience))?;
                fields.push(("client_id", &self.client));
                fields.push(("client_assertion_type", ASSERTION_TYPE));
                fields.push(("client_assertion", &assertion));
            }
            ClientAuth::None => {
                fields.push(("client_id", &self.client));
            }
        }
        Ok(request
            .header(CONTENT_TYPE, FORM)
            .header(ACCEPT, "application/json")
            .body(form(&fields)))
    }

    /// Creates the claims of a new assertion. Servers refuse a `jti` that they have seen.
    fn assertion<'a>(&'a self, audience: &'a str) -> ClientAssertion<'a> {
        let now = self.http_client.now().as_millis() / 1000;
        ClientAssertion {
            iss: &self.client,
            sub: &self.client,
            aud: audience,
            jti: Uuid::new_v4(),
            iat: now,
            exp: now + ASSERTION_LIFETIME,
        }
    }
}

/// Checks a response by RFC 7009, section 2.2. Unknown tokens are a success too.
fn check(response: &HttpResponse) -> Result<(), ActionError> {
    let Some(error) = response.json::<OAuthErrorResponse>() else {
        return response.check_status();
    };
    response.check_status_quoting(&error.error, error.error_description.as_deref())
}

impl Action for OauthRevocation {
    fn run<'a>(&'a self, input: ActionInput<'a>) -> Attempt<'a> {
        Box::pin(self.revoke(input))
    }

    fn public_keys(&self) -> Vec<Jwk> {
        match &self.auth {
            ClientAuth::Assertion { keys, .. } => keys.public(),
            ClientAuth::Basic(_) | ClientAuth::Post(_) | ClientAuth::None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
