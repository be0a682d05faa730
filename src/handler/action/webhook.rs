//! `webhook`: posts the terminal event to a URL.
//!
//! The body is the event's exact bytes. `Idempotency-Key` is the event's id, the same in
//! every attempt; `Sundown-Signature` proves origin and freshness (see [`signature`]).

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Action, ActionError, Attempt, Delivery, signature};
use crate::clock::Clock;
use crate::handler::config::{ActionName, Invalid, Secret, SecretRef, duration, url};
use crate::http;
use crate::session::Timestamp;

/// The header that tells repetitions of an event from news.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// How much of an answer is read, so that its connection can be used again, in bytes. The
/// rest of a longer one is thrown away together with the connection.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// A `webhook` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// What policies and metrics call it.
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    /// Where to post to.
    #[serde(deserialize_with = "url")]
    url: Url,
    /// What signs the calls.
    secret: SecretRef,
    /// For one attempt, from connecting to the end of the answer.
    #[serde(default = "default_timeout", deserialize_with = "duration")]
    timeout: Duration,
}

/// Posts events to a URL.
#[derive(Debug)]
pub struct Webhook {
    client: Client,
    url: Url,
    secret: Secret,
    timeout: Duration,
    clock: Clock,
}

impl Webhook {
    /// Fetches the secret and makes the client.
    ///
    /// # Errors
    /// [`Invalid`] if the secret or the authorities' certificates cannot be read.
    pub fn new(config: Config) -> Result<Self, Invalid> {
        let secret = config.secret.read().map_err(|error| Invalid::Field {
            action: config.name.clone(),
            field: "secret",
            problem: error.to_string(),
        })?;
        let client = http::client(config.timeout).map_err(|error| Invalid::Field {
            action: config.name,
            field: "url",
            problem: http::describe(error),
        })?;
        Ok(Self {
            client,
            url: config.url,
            secret,
            timeout: config.timeout,
            clock: Clock::default(),
        })
    }

    async fn post(&self, Delivery { event, body }: Delivery<'_>) -> Result<(), ActionError> {
        let now = self.clock.wall();
        let signature = signature::sign(&self.secret, now.as_millis() / 1000, body);
        let request = self.client.post(self.url.clone());
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .header(IDEMPOTENCY_KEY, event.event_id.to_string())
            .header(signature::HEADER, signature)
            .body(body.to_vec());
        let answer = request.send().await.map_err(|error| self.failure(error))?;
        let verdict = judge(answer.status(), answer.headers(), now);
        read_to_the_end(answer).await;
        verdict
    }

    fn failure(&self, error: reqwest::Error) -> ActionError {
        if error.is_connect() {
            let reason = http::describe(error);
            return ActionError::Unreachable { reason };
        }
        let reason = if error.is_timeout() {
            format!("no answer within {:?}", self.timeout)
        } else {
            http::describe(error)
        };
        let retry_after = None;
        ActionError::Retryable {
            reason,
            retry_after,
        }
    }
}

impl Action for Webhook {
    fn run<'a>(&'a self, delivery: Delivery<'a>) -> Attempt<'a> {
        Box::pin(self.post(delivery))
    }
}

fn default_timeout() -> Duration {
    DEFAULT_TIMEOUT
}

/// What the answer's status means. Redirects are refusals: they are not followed.
fn judge(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Result<(), ActionError> {
    /// RFC 8470: sent too early in a TLS connection.
    const TOO_EARLY: u16 = 425;
    let reason = format!("the receiver answered {status}");
    match status.as_u16() {
        200..=299 => Ok(()),
        408 | TOO_EARLY | 429 | 500..=599 => Err(ActionError::Retryable {
            reason,
            retry_after: retry_after(headers, now),
        }),
        _ => Err(ActionError::Permanent { reason }),
    }
}

/// RFC 9110, section 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    let millis = date.timestamp_millis().saturating_sub(now.as_millis());
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

/// The status has said it all: whatever happens here changes nothing.
async fn read_to_the_end(mut answer: Response) {
    let mut left = MAX_ANSWER_BYTES;
    while let Ok(Some(chunk)) = answer.chunk().await {
        let Some(rest) = left.checked_sub(chunk.len()) else {
            return;
        };
        left = rest;
    }
}

#[cfg(test)]
mod tests;
