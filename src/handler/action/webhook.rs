//! `webhook`: calls an HTTP API.
//!
//! The body is the event's exact bytes, or a rendered template. `Idempotency-Key` is the event's
//! id, equal in all attempts; signatures prove origin and freshness (see [`signature`]).

mod headers;

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Url};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use super::error::ActionError;
use super::http_auth::{HttpAuth, HttpAuthConfig};
use super::http_client::{HttpClient, MAX_RESPONSE_BYTES, default_timeout, within};
use super::signature::{self, WebhookSecrets};
use super::success::SuccessStatuses;
use super::{Action, ActionInput, Attempt, Jwk};
use crate::handler::event::{Reasons, Triggers};
use crate::handler::fields::{
    ActionConfigError, ActionName, Literal, duration, parsed, require_encryption,
};
use crate::handler::secret::SecretRef;
use crate::handler::template::Template;
use crate::handler::url_template::UrlTemplate;
use headers::{EVENT_TYPE, HeaderConfigs, HeaderTemplates, IDEMPOTENCY_KEY};

const JSON: &str = "application/json";

/// A `webhook` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WebhookConfig {
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    #[serde(default)]
    pub on: Triggers,
    #[serde(default)]
    pub reasons: Reasons,
    #[serde(default)]
    method: WebhookMethod,
    url: UrlTemplate,
    #[serde(default)]
    headers: HeaderConfigs,
    auth: Option<HttpAuthConfig>,
    /// Signs the requests.
    secret: Option<SecretRef>,
    /// Sign the requests during a rotation, instead of `secret`.
    secrets: Option<Vec<SecretRef>>,
    /// Replaces the event's bytes. An empty text stands for no body.
    body: Option<WebhookBody>,
    /// The content type of `body`.
    content_type: Option<Literal>,
    #[serde(default)]
    success: SuccessStatuses,
    /// Allows credentials over `http://`.
    #[serde(default)]
    insecure: bool,
    /// Bounds one attempt, from connecting to the end of the response.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// PEM certificates of the trusted authorities, instead of those of the system.
    ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum WebhookMethod {
    Get,
    #[default]
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Debug)]
enum WebhookBody {
    /// The bytes of the event.
    Event,
    Template(Template),
    Empty,
}

#[derive(Debug)]
pub struct Webhook {
    http_client: HttpClient,
    method: Method,
    url: UrlTemplate,
    headers: HeaderTemplates,
    auth: Option<HttpAuth>,
    secrets: WebhookSecrets,
    body: WebhookBody,
    content_type: HeaderValue,
    timeout: Duration,
}

/// A request without its credentials, which may have to be renewed.
struct RenderedRequest {
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Webhook {
    /// Reads the secrets and creates the HTTP client.
    ///
    /// # Errors
    /// [`ActionConfigError`] if a secret or the authorities' certificates cannot be read, or
    /// fields contradict each other.
    pub fn new(config: WebhookConfig) -> Result<Self, ActionConfigError> {
        let name = &config.name;
        let headers = HeaderTemplates::read(name, config.headers)?;
        if config.auth.is_some() && headers.contains(&AUTHORIZATION) {
            let problem = "Authorization is set by auth; remove one of them";
            return Err(ActionConfigError::field(name, "headers", problem));
        }
        if config.auth.is_some() || headers.have_credentials() {
            require_encryption(name, "url", config.url.base(), config.insecure)?;
        }
        let secrets = match (config.secret, config.secrets) {
            (Some(secret), None) => WebhookSecrets::read(name, "secret", &[secret])?,
            (None, secrets) => WebhookSecrets::read(name, "secrets", &secrets.unwrap_or_default())?,
            (Some(_), Some(_)) => {
                let problem = "name all of them in secrets, and remove secret";
                return Err(ActionConfigError::field(name, "secrets", problem));
            }
        };
        let content_type = config.content_type.map(Literal::into_string);
        let content_type = HeaderValue::from_str(content_type.as_deref().unwrap_or(JSON))
            .map_err(|error| ActionConfigError::field(name, "contentType", error.to_string()))?;
        let (timeout, ca_file) = (config.timeout, config.ca_file.as_ref());
        let auth = config
            .auth
            .map(|auth| HttpAuth::read(name, auth, timeout, ca_file, config.insecure));
        let base = config.url.base().clone();
        Ok(Self {
            http_client: HttpClient::new(name, base, timeout, ca_file)?
                .with_success(config.success),
            body: config.body.unwrap_or(config.method.default_body()),
            method: config.method.into(),
            url: config.url,
            headers,
            auth: auth.transpose()?,
            secrets,
            content_type,
            timeout,
        })
    }

    /// Makes one attempt, which may take several requests if a token has to be renewed.
    async fn call(&self, input: ActionInput<'_>) -> Result<(), ActionError> {
        let request = self.render(input)?;
        within(self.timeout, self.send(&request)).await
    }

    fn render(&self, input: ActionInput<'_>) -> Result<RenderedRequest, ActionError> {
        let context = input.template_context();
        let event = input.event;
        let mut headers = self.headers.render(&context)?;
        let body = match &self.body {
            WebhookBody::Event => Some(input.body.to_vec()),
            WebhookBody::Template(template) => Some(template.render(&context)?.into_bytes()),
            WebhookBody::Empty => None,
        };
        if body.is_some() {
            headers.insert(CONTENT_TYPE, self.content_type.clone());
        }
        let body = body.unwrap_or_default();
        let at = self.http_client.now().as_millis() / 1000;
        let id = signature::id(event);
        let signatures = self.secrets.sign(&id, at, &body);
        let event_id = event.id().to_string();
        let mut own = vec![
            (IDEMPOTENCY_KEY, event_id),
            (EVENT_TYPE, event.trigger().event_type().to_owned()),
        ];
        if !signatures.is_empty() {
            own.push((signature::ID, id));
            own.push((signature::TIMESTAMP, at.to_string()));
            own.push((signature::SIGNATURE, signatures));
        }
        for (name, value) in own {
            headers::insert(&mut headers, name, &value)?;
        }
        Ok(RenderedRequest {
            url: self.url.render(&context)?,
            headers,
            body,
        })
    }

    async fn send(&self, request: &RenderedRequest) -> Result<(), ActionError> {
        let client = &self.http_client;
        let response = match &self.auth {
            None => client.send(self.request(request)).await?,
            Some(auth) => {
                let request = || self.request(request);
                auth.send(client, request, MAX_RESPONSE_BYTES).await?
            }
        };
        response.check_status()
    }

    fn request(&self, request: &RenderedRequest) -> RequestBuilder {
        self.http_client
            .request(self.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .body(request.body.clone())
    }
}

impl Action for Webhook {
    fn run<'a>(&'a self, input: ActionInput<'a>) -> Attempt<'a> {
        Box::pin(self.call(input))
    }

    fn public_keys(&self) -> Vec<Jwk> {
        self.auth
            .as_ref()
            .map(HttpAuth::public_keys)
            .unwrap_or_default()
    }
}

impl WebhookMethod {
    /// What is sent without `body`.
    const fn default_body(self) -> WebhookBody {
        match self {
            Self::Get | Self::Delete => WebhookBody::Empty,
            Self::Post | Self::Put | Self::Patch => WebhookBody::Event,
        }
    }
}

impl From<WebhookMethod> for Method {
    fn from(method: WebhookMethod) -> Self {
        match method {
            WebhookMethod::Get => Self::GET,
            WebhookMethod::Post => Self::POST,
            WebhookMethod::Put => Self::PUT,
            WebhookMethod::Patch => Self::PATCH,
            WebhookMethod::Delete => Self::DELETE,
        }
    }
}

impl<'de> Deserialize<'de> for WebhookBody {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        parsed(field, "a template", |text| {
            if text.is_empty() {
                return Ok(Self::Empty);
            }
            Template::parse(text).map(Self::Template)
        })
    }
}

#[cfg(test)]
mod keycloak_tests;
#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod tests;
