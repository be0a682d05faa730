//! `oauth-revocation`: revokes a token at an authorization server (RFC 7009).

mod token_lookup;

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::{RequestBuilder, Url};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::{ActionError, Failure};
use super::http_auth::HttpAuth;
use super::http_client::{
    HttpClient, HttpResponse, OAuthErrorResponse, default_timeout, quote, within,
};
use super::oauth_client::{OauthClient, OauthClientConfig};
use super::{Action, ActionInput, Attempt, Jwk};
use crate::handler::event::Reasons;
use crate::handler::fields::{
    ActionConfigError, ActionName, Literal, duration, require_encryption, url,
};
use crate::handler::template::Template;
use token_lookup::{TokenLookup, TokenLookupConfig};

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
    token: Option<Template>,
    /// Where to get the token when the session has ended, instead of `token`.
    token_from: Option<TokenLookupConfig>,
    /// `access_token` or `refresh_token`, a hint to the server.
    token_type_hint: Option<Literal>,
    /// The client that the token was issued to.
    client: OauthClientConfig,
    /// Allows `http://`.
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pub reasons: Reasons,
    /// Bounds one attempt, from connecting to the end of the response.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// PEM certificates of the trusted authorities, instead of those of the system.
    ca_file: Option<PathBuf>,
}

#[derive(Debug)]
pub struct OauthRevocation {
    http_client: HttpClient,
    token: RevokedToken,
    hint: Option<String>,
    client: OauthClient,
    timeout: Duration,
}

/// Where the token is.
#[derive(Debug)]
enum RevokedToken {
    /// In the event.
    Carried(Template),
    /// At the application.
    Referred(Box<TokenLookup>),
}

impl OauthRevocation {
    /// Reads the secrets and keys and creates the HTTP client.
    ///
    /// # Errors
    /// [`ActionConfigError`] if one of them cannot be read, or fields contradict each other.
    pub fn new(config: OauthRevocationConfig) -> Result<Self, ActionConfigError> {
        let OauthRevocationConfig {
            name,
            url,
            timeout,
            insecure,
            ..
        } = config;
        let ca_file = config.ca_file.as_ref();
        require_encryption(&name, "url", &url, insecure)?;
        let token = match (config.token, config.token_from) {
            (Some(token), None) => RevokedToken::Carried(token),
            (None, Some(lookup)) => {
                let lookup = TokenLookup::read(&name, lookup, timeout, ca_file, insecure)?;
                RevokedToken::Referred(Box::new(lookup))
            }
            _ => {
                let problem = "needs either token or tokenFrom";
                return Err(ActionConfigError::field(&name, "token", problem));
            }
        };
        Ok(Self {
            client: OauthClient::read(&name, config.client)?,
            http_client: HttpClient::new(&name, url, timeout, ca_file)?,
            token,
            hint: config.token_type_hint.map(Literal::into_string),
            timeout,
        })
    }

    async fn revoke(&self, input: ActionInput<'_>) -> Result<(), ActionError> {
        let context = input.template_context();
        let token = match &self.token {
            RevokedToken::Carried(template) => template.render(&context)?,
            RevokedToken::Referred(lookup) => match lookup.token(&context).await? {
                Some(token) => token,
                None => return Ok(()),
            },
        };
        check_client(&token, self.client.id())?;
        let request = self.request(&token)?;
        check(&self.http_client.send(request).await?)
    }

    fn request(&self, token: &str) -> Result<RequestBuilder, ActionError> {
        let mut fields = vec![("token", token)];
        if let Some(hint) = &self.hint {
            fields.push(("token_type_hint", hint));
        }
        let request = self.http_client.post();
        self.client
            .authenticate(request, fields, self.http_client.now())
    }
}

/// Refuses a token that names another client (`azp` or `client_id` of a JWT). A server revokes
/// only tokens of the client that asks (RFC 7009, section 2.1), and some answer 200 otherwise.
fn check_client(token: &str, client: &str) -> Result<(), ActionError> {
    #[derive(Deserialize)]
    struct Issued {
        azp: Option<String>,
        client_id: Option<String>,
    }
    let payload = token
        .split('.')
        .nth(1)
        .filter(|_| token.split('.').count() == 3);
    let payload = payload.and_then(|payload| BASE64_URL_SAFE_NO_PAD.decode(payload).ok());
    let issued = payload.and_then(|json| serde_json::from_slice::<Issued>(&json).ok());
    match issued.and_then(|issued| issued.azp.or(issued.client_id)) {
        Some(other) if other != client => {
            let reason = format!(
                "the token was issued to the client {}; only that client can revoke it, not {client}",
                quote(&other)
            );
            Err(ActionError::new(Failure::NotRendered, reason))
        }
        _ => Ok(()),
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
        Box::pin(within(self.timeout, self.revoke(input)))
    }

    fn public_keys(&self) -> Vec<Jwk> {
        let mut keys = self.client.public_keys();
        if let RevokedToken::Referred(lookup) = &self.token {
            keys.extend(lookup.auth().map(HttpAuth::public_keys).unwrap_or_default());
        }
        keys
    }
}

#[cfg(test)]
mod lookup_tests;
#[cfg(test)]
mod tests;
