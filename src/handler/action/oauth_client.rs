//! OAuth clients: how the handler authenticates to an authorization server.

use form_urlencoded::byte_serialize;
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Jwk;
use super::error::ActionError;
use super::http_client::{FORM, form};
use super::signing::{SigningKeyConfig, SigningKeys};
use crate::handler::fields::{ActionConfigError, ActionName, Literal};
use crate::handler::secret::{Secret, SecretRef};
use crate::session::Timestamp;

/// The lifetime of a client assertion, in seconds: covers a request and some clock skew.
const ASSERTION_LIFETIME: i64 = 60;
/// The value of `client_assertion_type` (RFC 7523, section 2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A `client` in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OauthClientConfig {
    id: Literal,
    method: ClientAuthMethod,
    secret: Option<SecretRef>,
    #[serde(default)]
    signing_keys: Vec<SigningKeyConfig>,
    /// The issuer of the authorization server: the audience of assertions.
    issuer: Option<Literal>,
    /// The audience of assertions, for servers that expect another one than their issuer.
    audience: Option<Literal>,
}

/// The methods of OpenID Connect Core 1.0, section 9, that need a single request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ClientAuthMethod {
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
    None,
}

/// A client with its credentials.
#[derive(Debug)]
pub struct OauthClient {
    id: String,
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

impl OauthClient {
    /// Reads the secret or the keys.
    ///
    /// # Errors
    /// [`ActionConfigError`] if they cannot be read, or do not match the method.
    pub fn read(action: &ActionName, config: OauthClientConfig) -> Result<Self, ActionConfigError> {
        let OauthClientConfig { id, method, .. } = config;
        let auth = match (method, &config.secret, &config.signing_keys[..]) {
            (ClientAuthMethod::ClientSecretBasic, Some(secret), []) => {
                ClientAuth::Basic(secret.read_text_for(action, "client.secret")?)
            }
            (ClientAuthMethod::ClientSecretPost, Some(secret), []) => {
                ClientAuth::Post(secret.read_text_for(action, "client.secret")?)
            }
            (ClientAuthMethod::PrivateKeyJwt, None, keys) => {
                let Some(audience) = config.audience.or(config.issuer) else {
                    let problem = "is missing; private_key_jwt needs the issuer of the \
                                   authorization server, the audience of its assertions";
                    return Err(ActionConfigError::field(action, "client.issuer", problem));
                };
                ClientAuth::Assertion {
                    keys: Box::new(SigningKeys::read(action, keys, None)?),
                    audience: audience.into_string(),
                }
            }
            (ClientAuthMethod::None, None, []) => ClientAuth::None,
            _ => {
                let problem = "client_secret_basic and client_secret_post need a secret only, \
                               private_key_jwt needs signingKeys only, none needs neither";
                return Err(ActionConfigError::field(action, "client", problem));
            }
        };
        let id = id.into_string();
        Ok(Self { id, auth })
    }

    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Adds the credentials and the form `fields` to a request.
    ///
    /// # Errors
    /// [`ActionError`] if an assertion cannot be signed.
    pub fn authenticate(
        &self,
        mut request: RequestBuilder,
        fields: Vec<(&str, &str)>,
        now: Timestamp,
    ) -> Result<RequestBuilder, ActionError> {
        let assertion;
        let mut fields: Vec<(&str, &str)> = fields;
        match &self.auth {
            ClientAuth::Basic(secret) => {
                // RFC 6749, section 2.3.1: both are form-encoded first.
                let encode = |text: &[u8]| byte_serialize(text).collect::<String>();
                let (user, password) = (encode(self.id.as_bytes()), encode(secret.expose()));
                request = request.basic_auth(user, Some(password));
            }
            ClientAuth::Post(secret) => {
                fields.push(("client_id", &self.id));
                fields.push(("client_secret", secret.expose_text().unwrap_or_default()));
            }
            ClientAuth::Assertion { keys, audience } => {
                assertion = keys.sign("JWT", &self.assertion(audience, now))?;
                fields.push(("client_id", &self.id));
                fields.push(("client_assertion_type", ASSERTION_TYPE));
                fields.push(("client_assertion", &assertion));
            }
            ClientAuth::None => {
                fields.push(("client_id", &self.id));
            }
        }
        Ok(request
            .header(CONTENT_TYPE, FORM)
            .header(ACCEPT, "application/json")
            .body(form(&fields)))
    }

    /// The public keys with which the server verifies assertions.
    #[must_use]
    pub fn public_keys(&self) -> Vec<Jwk> {
        match &self.auth {
            ClientAuth::Assertion { keys, .. } => keys.public(),
            ClientAuth::Basic(_) | ClientAuth::Post(_) | ClientAuth::None => Vec::new(),
        }
    }

    /// Creates the claims of a new assertion. Servers refuse a `jti` that they have seen.
    fn assertion<'a>(&'a self, audience: &'a str, now: Timestamp) -> ClientAssertion<'a> {
        let now = now.as_millis() / 1000;
        ClientAssertion {
            iss: &self.id,
            sub: &self.id,
            aud: audience,
            jti: Uuid::new_v4(),
            iat: now,
            exp: now + ASSERTION_LIFETIME,
        }
    }
}
