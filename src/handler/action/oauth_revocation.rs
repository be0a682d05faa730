//! `oauth-revocation`: has an authorization server revoke a token (RFC 7009).

use std::path::PathBuf;
use std::time::Duration;

use form_urlencoded::byte_serialize;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{RequestBuilder, Url};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::ActionError;
use super::http_client::{Answer, FORM, HttpClient, default_timeout, form};
use super::signing::{KeyConfig, SigningKeys};
use super::{Action, Attempt, Delivery, Jwk};
use crate::handler::fields::{ActionConfigError, ActionName, duration, url};
use crate::handler::secret::{Secret, SecretRef};
use crate::handler::template::Template;

/// How long an assertion of who we are holds, in seconds: as long as a call may take, and
/// some for clocks that differ.
const ASSERTION_LIFETIME: i64 = 60;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An `oauth-revocation` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// What policies and metrics call it.
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    /// The revocation endpoint.
    #[serde(deserialize_with = "url")]
    url: Url,
    /// The token.
    token: Template,
    /// `access_token` or `refresh_token`, if the server wants to be told.
    token_type_hint: Option<String>,
    /// Who we are.
    client: ClientConfig,
    /// For one attempt, from connecting to the end of the answer.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// Certificates of the authorities to trust, PEM, instead of the system's.
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ClientConfig {
    id: String,
    method: Method,
    secret: Option<SecretRef>,
    #[serde(default)]
    signing_keys: Vec<KeyConfig>,
    audience: Option<String>,
}

/// The methods of OpenID Connect Core, section 9, that need no more than one call.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Method {
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
    None,
}

/// Revokes tokens.
#[derive(Debug)]
pub struct OauthRevocation {
    caller: HttpClient,
    token: Template,
    hint: Option<String>,
    client: String,
    proof: Proof,
}

/// How the server can tell that it is us.
#[derive(Debug)]
enum Proof {
    Basic(Secret),
    Post(Secret),
    Assertion {
        keys: Box<SigningKeys>,
        audience: String,
    },
    None,
}

/// RFC 7523, section 3.
#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: Uuid,
    iat: i64,
    exp: i64,
}

/// RFC 6749, section 5.2.
#[derive(Deserialize)]
struct ErrorResponse {
    error: String,
    error_description: Option<String>,
}

impl OauthRevocation {
    /// Fetches secrets and keys and makes the client.
    ///
    /// # Errors
    /// [`ActionConfigError`] if one of them cannot be read, or they do not go with the method.
    pub fn new(config: Config) -> Result<Self, ActionConfigError> {
        let Config {
            name, client, url, ..
        } = config;
        let audience = client.audience.unwrap_or_else(|| url.to_string());
        let proof = match (client.method, &client.secret, &client.signing_keys[..]) {
            (Method::ClientSecretBasic, Some(secret), []) => {
                Proof::Basic(secret.read_text_for(&name, "client.secret")?)
            }
            (Method::ClientSecretPost, Some(secret), []) => {
                Proof::Post(secret.read_text_for(&name, "client.secret")?)
            }
            (Method::PrivateKeyJwt, None, keys) => Proof::Assertion {
                keys: Box::new(SigningKeys::read(&name, keys)?),
                audience,
            },
            (Method::None, None, []) => Proof::None,
            _ => {
                let problem = "client_secret_basic and client_secret_post need a secret and \
                               nothing else, private_key_jwt needs signingKeys and nothing \
                               else, none needs neither";
                return Err(ActionConfigError::field(&name, "client", problem));
            }
        };
        Ok(Self {
            caller: HttpClient::new(&name, url, config.timeout, config.ca_file.as_ref())?,
            token: config.token,
            hint: config.token_type_hint,
            client: client.id,
            proof,
        })
    }

    async fn revoke(&self, delivery: Delivery<'_>) -> Result<(), ActionError> {
        let token = self.token.fill(&delivery.facts())?;
        let request = self.request(&token)?;
        judge(&self.caller.send(request).await?)
    }

    fn request(&self, token: &str) -> Result<RequestBuilder, ActionError> {
        let mut fields = vec![("token", token)];
        if let Some(hint) = &self.hint {
            fields.push(("token_type_hint", hint));
        }
        let assertion;
        let mut request = self.caller.post();
        match &self.proof {
            Proof::Basic(secret) => {
                // RFC 6749, section 2.3.1: both are encoded before they are joined.
                let encode = |text: &[u8]| byte_serialize(text).collect::<String>();
                let (user, password) = (encode(self.client.as_bytes()), encode(secret.expose()));
                request = request.basic_auth(user, Some(password));
            }
            Proof::Post(secret) => {
                fields.push(("client_id", &self.client));
                fields.push(("client_secret", secret.expose_text().unwrap_or_default()));
            }
            Proof::Assertion { keys, audience } => {
                assertion = keys.sign("JWT", &self.assertion(audience))?;
                fields.push(("client_id", &self.client));
                fields.push(("client_assertion_type", ASSERTION_TYPE));
                fields.push(("client_assertion", &assertion));
            }
            Proof::None => {
                fields.push(("client_id", &self.client));
            }
        }
        Ok(request
            .header(CONTENT_TYPE, FORM)
            .header(ACCEPT, "application/json")
            .body(form(&fields)))
    }

    /// Another one for every attempt: servers refuse those that they have seen.
    fn assertion<'a>(&'a self, audience: &'a str) -> Assertion<'a> {
        let now = self.caller.now().as_millis() / 1000;
        Assertion {
            iss: &self.client,
            sub: &self.client,
            aud: audience,
            jti: Uuid::new_v4(),
            iat: now,
            exp: now + ASSERTION_LIFETIME,
        }
    }
}

/// RFC 7009, section 2.2: success for unknown tokens too, and what can be wrong otherwise.
fn judge(answer: &Answer) -> Result<(), ActionError> {
    let Some(said) = answer.json::<ErrorResponse>() else {
        return answer.verdict();
    };
    let description = said.error_description.as_deref();
    let verdict = answer.verdict_quoting(&said.error, description);
    // Some servers say so with the status of a refusal.
    let passing = ["temporarily_unavailable", "server_error"];
    match verdict {
        Err(ActionError::Permanent { reason }) if passing.contains(&said.error.as_str()) => {
            Err(ActionError::retryable(reason))
        }
        verdict => verdict,
    }
}

impl Action for OauthRevocation {
    fn run<'a>(&'a self, delivery: Delivery<'a>) -> Attempt<'a> {
        Box::pin(self.revoke(delivery))
    }

    fn public_keys(&self) -> Vec<Jwk> {
        match &self.proof {
            Proof::Assertion { keys, .. } => keys.public(),
            Proof::Basic(_) | Proof::Post(_) | Proof::None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
