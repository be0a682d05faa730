//! `webhook`: posts the event to a URL.
//!
//! The body is the event's exact bytes, or a rendered template. `Idempotency-Key` is the event's
//! id, equal in all attempts; `Sundown-Signature` proves origin and freshness (see [`signature`]).

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::ActionError;
use super::http_client::{HttpClient, default_timeout};
use super::{Action, ActionInput, Attempt, signature};
use crate::handler::event::Triggers;
use crate::handler::fields::{ActionConfigError, ActionName, duration, url};
use crate::handler::secret::{Secret, SecretRef};
use crate::handler::template::Template;

/// The header by which receivers detect repeated deliveries.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The header with the CloudEvents type, which differs between endings and warnings.
pub const EVENT_TYPE: &str = "Sundown-Event-Type";
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
    #[serde(deserialize_with = "url")]
    url: Url,
    /// Signs the requests.
    secret: SecretRef,
    /// Replaces the event's bytes.
    body: Option<Template>,
    /// The content type of `body`.
    content_type: Option<String>,
    /// Bounds one attempt, from connecting to the end of the response.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// PEM certificates of the trusted authorities, instead of those of the system.
    ca_file: Option<PathBuf>,
}

#[derive(Debug)]
pub struct Webhook {
    http_client: HttpClient,
    secret: Secret,
    body: Option<Template>,
    content_type: HeaderValue,
}

impl Webhook {
    /// Reads the secret and creates the HTTP client.
    ///
    /// # Errors
    /// [`ActionConfigError`] if the secret or the authorities' certificates cannot be read.
    pub fn new(config: WebhookConfig) -> Result<Self, ActionConfigError> {
        let name = &config.name;
        let secret = config.secret.read_for(name, "secret")?;
        let content_type = config.content_type.as_deref().unwrap_or(JSON);
        let content_type = HeaderValue::from_str(content_type)
            .map_err(|error| ActionConfigError::field(name, "contentType", error.to_string()))?;
        Ok(Self {
            http_client: HttpClient::new(
                name,
                config.url,
                config.timeout,
                config.ca_file.as_ref(),
            )?,
            secret,
            body: config.body,
            content_type,
        })
    }

    async fn post(&self, input: ActionInput<'_>) -> Result<(), ActionError> {
        let body = match &self.body {
            Some(template) => template.render(&input.template_context())?.into_bytes(),
            None => input.body.to_vec(),
        };
        let at = self.http_client.now().as_millis() / 1000;
        let signature = signature::sign(&self.secret, at, &body);
        let event = input.event;
        let request = self.http_client.post();
        let request = request
            .header(CONTENT_TYPE, self.content_type.clone())
            .header(IDEMPOTENCY_KEY, event.id().to_string())
            .header(EVENT_TYPE, event.trigger().event_type())
            .header(signature::HEADER, signature)
            .body(body);
        self.http_client.send(request).await?.check_status()
    }
}

impl Action for Webhook {
    fn run<'a>(&'a self, input: ActionInput<'a>) -> Attempt<'a> {
        Box::pin(self.post(input))
    }
}

#[cfg(test)]
mod tests;
