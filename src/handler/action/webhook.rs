//! `webhook`: posts the event to a URL.
//!
//! The body is the event's exact bytes, or a template. `Idempotency-Key` is the event's id,
//! the same in every attempt; `Sundown-Signature` proves origin and freshness (see
//! [`signature`]).

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::ActionError;
use super::http_client::{HttpClient, default_timeout};
use super::{Action, Attempt, Delivery, signature};
use crate::handler::event::Triggers;
use crate::handler::fields::{ActionConfigError, ActionName, duration, url};
use crate::handler::secret::{Secret, SecretRef};
use crate::handler::template::Template;

/// The header that tells repetitions of an event from news.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The header that tells endings from warnings: the CloudEvents type.
pub const EVENT_TYPE: &str = "Sundown-Event-Type";
const JSON: &str = "application/json";

/// A `webhook` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// What policies and metrics call it.
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    /// When to run.
    #[serde(default)]
    pub on: Triggers,
    /// Where to post to.
    #[serde(deserialize_with = "url")]
    url: Url,
    /// What signs the calls.
    secret: SecretRef,
    /// What to post instead of the event as it is.
    body: Option<Template>,
    /// What that is.
    content_type: Option<String>,
    /// For one attempt, from connecting to the end of the answer.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
    /// Certificates of the authorities to trust, PEM, instead of the system's.
    ca_file: Option<PathBuf>,
}

/// Posts events to a URL.
#[derive(Debug)]
pub struct Webhook {
    caller: HttpClient,
    secret: Secret,
    body: Option<Template>,
    content_type: HeaderValue,
}

impl Webhook {
    /// Fetches the secret and makes the client.
    ///
    /// # Errors
    /// [`ActionConfigError`] if the secret or the authorities' certificates cannot be read.
    pub fn new(config: Config) -> Result<Self, ActionConfigError> {
        let name = &config.name;
        let secret = config.secret.read_for(name, "secret")?;
        let content_type = config.content_type.as_deref().unwrap_or(JSON);
        let content_type = HeaderValue::from_str(content_type)
            .map_err(|error| ActionConfigError::field(name, "contentType", error.to_string()))?;
        Ok(Self {
            caller: HttpClient::new(name, config.url, config.timeout, config.ca_file.as_ref())?,
            secret,
            body: config.body,
            content_type,
        })
    }

    async fn post(&self, delivery: Delivery<'_>) -> Result<(), ActionError> {
        let body = match &self.body {
            Some(template) => template.fill(&delivery.facts())?.into_bytes(),
            None => delivery.body.to_vec(),
        };
        let at = self.caller.now().as_millis() / 1000;
        let signature = signature::sign(&self.secret, at, &body);
        let event = delivery.event;
        let request = self.caller.post();
        let request = request
            .header(CONTENT_TYPE, self.content_type.clone())
            .header(IDEMPOTENCY_KEY, event.id().to_string())
            .header(EVENT_TYPE, event.trigger().event_type())
            .header(signature::HEADER, signature)
            .body(body);
        self.caller.send(request).await?.verdict()
    }
}

impl Action for Webhook {
    fn run<'a>(&'a self, delivery: Delivery<'a>) -> Attempt<'a> {
        Box::pin(self.post(delivery))
    }
}

#[cfg(test)]
mod tests;
