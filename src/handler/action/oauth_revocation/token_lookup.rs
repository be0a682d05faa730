//! `tokenFrom`: gets the token of a session from the application that keeps it.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::error::{ActionError, Failure};
use super::super::http_auth::{HttpAuth, HttpAuthConfig};
use super::super::http_client::HttpClient;
use crate::handler::fields::{ActionConfigError, ActionName, parsed, require_encryption};
use crate::handler::template::TemplateContext;
use crate::handler::url_template::UrlTemplate;

const URL_FIELD: &str = "tokenFrom.url";
/// The bytes of a response that are read.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The field `tokenFrom` of an `oauth-revocation` action.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct TokenLookupConfig {
    /// Responds to GET with JSON, or with 404 or 410 if there is no token any more.
    url: UrlTemplate,
    auth: Option<HttpAuthConfig>,
    /// Where the token is in the response.
    pointer: JsonPointer,
}

/// A JSON pointer (RFC 6901), such as `/refresh_token`.
#[derive(Clone, Debug)]
struct JsonPointer(String);

#[derive(Debug)]
pub(super) struct TokenLookup {
    http_client: HttpClient,
    url: UrlTemplate,
    auth: Option<HttpAuth>,
    pointer: JsonPointer,
}

impl TokenLookup {
    /// Reads the secrets and creates the HTTP client.
    ///
    /// # Errors
    /// [`ActionConfigError`] if a secret or the authorities' certificates cannot be read, or the
    /// token would travel without encryption.
    pub(super) fn read(
        action: &ActionName,
        config: TokenLookupConfig,
        timeout: Duration,
        ca_file: Option<&PathBuf>,
        insecure: bool,
    ) -> Result<Self, ActionConfigError> {
        let base = config.url.base();
        require_encryption(action, URL_FIELD, base, insecure)?;
        let auth = config
            .auth
            .map(|auth| HttpAuth::read(action, auth, timeout, ca_file, insecure));
        Ok(Self {
            http_client: HttpClient::new(action, base.clone(), timeout, ca_file)?,
            auth: auth.transpose()?,
            url: config.url,
            pointer: config.pointer,
        })
    }

    /// Gets the token; `None` if the application no longer has one.
    ///
    /// # Errors
    /// [`ActionError`] if the URL does not render, or the response has no token.
    pub(super) async fn token(
        &self,
        context: &TemplateContext,
    ) -> Result<Option<String>, ActionError> {
        let url = self.url.render(context)?;
        let request = || -> RequestBuilder {
            let request = self.http_client.request(Method::GET, url.clone());
            request.header(ACCEPT, "application/json")
        };
        let client = &self.http_client;
        let response = match &self.auth {
            Some(auth) => auth.send(client, request, MAX_RESPONSE_BYTES).await?,
            None => client.send_and_read(request(), MAX_RESPONSE_BYTES).await?,
        };
        if matches!(response.status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            return Ok(None);
        }
        response.check_status()?;
        let document: Option<Value> = response.json();
        let token = document
            .as_ref()
            .and_then(|json| json.pointer(&self.pointer.0));
        match token
            .and_then(Value::as_str)
            .filter(|token| !token.is_empty())
        {
            Some(token) => Ok(Some(token.to_owned())),
            None => {
                let reason = format!(
                    "the response of tokenFrom has no text at {}",
                    self.pointer.0
                );
                Err(ActionError::new(Failure::NotRendered, reason))
            }
        }
    }

    /// The authentication to the application.
    #[must_use]
    pub(super) fn auth(&self) -> Option<&HttpAuth> {
        self.auth.as_ref()
    }
}

impl<'de> Deserialize<'de> for JsonPointer {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        parsed(field, "a JSON pointer", |text| {
            if text.starts_with('/') {
                Ok(Self(text.to_owned()))
            } else {
                Err("must start with /, such as /refresh_token".to_owned())
            }
        })
    }
}
