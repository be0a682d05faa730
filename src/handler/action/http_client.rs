//! Calls over HTTP, and what their answers mean.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::error::ActionError;
use crate::clock::Clock;
use crate::handler::fields::{ActionConfigError, ActionName};
use crate::http::client;
use crate::session::Timestamp;

/// The content type of [`form`].
pub const FORM: &str = "application/x-www-form-urlencoded";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an answer is read, in bytes. Of a longer one the rest is thrown away
/// together with its connection.
const MAX_ANSWER_BYTES: usize = 4 * 1024;
/// How much of what a target says about an error is passed on, in characters.
const MAX_QUOTE: usize = 200;

/// For one attempt, if the actions file does not say.
#[must_use]
pub fn default_timeout() -> Duration {
    DEFAULT_TIMEOUT
}

/// Calls one URL.
#[derive(Debug)]
pub struct HttpClient {
    client: Client,
    url: Url,
    timeout: Duration,
    clock: Clock,
}

/// An answer, as far as it has been read.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl HttpClient {
    /// Makes a client that trusts the certificates in `ca_file`, or else those that the
    /// system does.
    ///
    /// # Errors
    /// [`ActionConfigError`] if the certificates cannot be read.
    pub fn new(
        action: &ActionName,
        url: Url,
        timeout: Duration,
        ca_file: Option<&PathBuf>,
    ) -> Result<Self, ActionConfigError> {
        let field = if ca_file.is_some() { "caFile" } else { "url" };
        let authorities = ca_file.map(PathBuf::as_path);
        let client = client::client(timeout, authorities)
            .map_err(|error| ActionConfigError::field(action, field, format!("{error:#}")))?;
        Ok(Self {
            client,
            url,
            timeout,
            clock: Clock::default(),
        })
    }

    /// Where it calls.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The present, for what is signed.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// A call to be filled in.
    pub fn post(&self) -> RequestBuilder {
        self.client.post(self.url.clone())
    }

    /// Makes the call.
    ///
    /// # Errors
    /// [`ActionError`] if there is no answer.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, ActionError> {
        let response = request.send().await.map_err(|error| self.failure(error))?;
        let status = response.status();
        let retry_after = retry_after(response.headers(), self.clock.wall());
        Ok(Answer {
            status,
            retry_after,
            body: beginning(response).await,
        })
    }

    fn failure(&self, error: reqwest::Error) -> ActionError {
        if error.is_connect() {
            ActionError::unreachable(client::describe(error))
        } else if error.is_timeout() {
            ActionError::retryable(format!("no answer within {:?}", self.timeout))
        } else {
            ActionError::retryable(client::describe(error))
        }
    }
}

impl Answer {
    /// What the status means. Redirects are refusals: they are not followed.
    ///
    /// # Errors
    /// [`ActionError`] unless the status is a success.
    pub fn verdict(&self) -> Result<(), ActionError> {
        self.verdict_because(format!("the receiver answered {}", self.status))
    }

    /// The same, with what the target itself gave as its reason, if it did.
    ///
    /// # Errors
    /// [`ActionError`] unless the status is a success.
    pub fn verdict_quoting(&self, code: &str, text: Option<&str>) -> Result<(), ActionError> {
        let status = self.status;
        let text = text.map(|text| format!(" ({})", quote(text)));
        let text = text.unwrap_or_default();
        let code = quote(code);
        self.verdict_because(format!("the receiver answered {status}: {code}{text}"))
    }

    /// The body as JSON, if it is that and was short enough to be read.
    #[must_use]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    fn verdict_because(&self, reason: String) -> Result<(), ActionError> {
        /// RFC 8470: sent too early in a TLS connection.
        const TOO_EARLY: u16 = 425;
        match self.status.as_u16() {
            200..=299 => Ok(()),
            408 | TOO_EARLY | 429 | 500..=599 => Err(ActionError::Retryable {
                reason,
                retry_after: self.retry_after,
            }),
            _ => Err(ActionError::Permanent { reason }),
        }
    }
}

/// `application/x-www-form-urlencoded`.
#[must_use]
pub fn form(fields: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).finish()
}

/// What somebody else wrote, fit for a line of log: short, and without control characters.
fn quote(text: &str) -> String {
    let clean = text.chars().filter(|c| !c.is_control());
    clean.take(MAX_QUOTE).collect()
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

/// The first bytes of a body, all of it if it is short, so that its connection can be used
/// again. The status has said what counts: that the rest does not come changes nothing.
async fn beginning(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MAX_ANSWER_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            break;
        }
    }
    body
}
