//! HTTP requests of actions, and the interpretation of responses.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use super::error::{ActionError, Failure};
use super::success::SuccessStatuses;
use crate::clock::Clock;
use crate::handler::fields::{ActionConfigError, ActionName};
use crate::http::client;
use crate::session::Timestamp;

/// The content type of [`form`].
pub const FORM: &str = "application/x-www-form-urlencoded";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// The bytes of a response body that are read. The connection of a longer one is closed.
pub const MAX_RESPONSE_BYTES: usize = 4 * 1024;
/// The characters of a target's own error that are quoted.
const MAX_QUOTE_CHARS: usize = 200;

/// The default of `timeout`, for one attempt.
#[must_use]
pub fn default_timeout() -> Duration {
    DEFAULT_TIMEOUT
}

/// Sends requests to one target.
#[derive(Debug)]
pub struct HttpClient {
    client: Client,
    url: Url,
    timeout: Duration,
    success: SuccessStatuses,
    clock: Clock,
}

/// A response, its body cut off at a limit, by default [`MAX_RESPONSE_BYTES`].
#[derive(Clone, Debug)]
pub struct HttpResponse {
    pub status: StatusCode,
    is_success: bool,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

/// An error in the form of RFC 6749, section 5.2, which OpenID Connect Back-Channel Logout 1.0,
/// section 2.8, uses too.
#[derive(Deserialize)]
pub struct OAuthErrorResponse {
    pub error: String,
    pub error_description: Option<String>,
}

impl HttpClient {
    /// Creates a client that trusts the certificates in `ca_file`, or those of the system.
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
        let client = client::client(timeout, authorities, url.host_str())
            .map_err(|error| ActionConfigError::field(action, field, format!("{error:#}")))?;
        Ok(Self {
            client,
            url,
            timeout,
            success: SuccessStatuses::default(),
            clock: Clock::default(),
        })
    }

    /// Sets the statuses that count as a success.
    #[must_use]
    pub fn with_success(mut self, success: SuccessStatuses) -> Self {
        self.success = success;
        self
    }

    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The current time, for signatures.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// The time since the client was created.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Starts a request to a URL of the target.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Starts a POST request.
    pub fn post(&self) -> RequestBuilder {
        self.client.post(self.url.clone())
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`ActionError`] if no response arrives.
    pub async fn send(&self, request: RequestBuilder) -> Result<HttpResponse, ActionError> {
        self.send_and_read(request, MAX_RESPONSE_BYTES).await
    }

    /// Sends a request and reads up to `limit` bytes of the response's body.
    ///
    /// # Errors
    /// [`ActionError`] if no response arrives.
    pub async fn send_and_read(
        &self,
        request: RequestBuilder,
        limit: usize,
    ) -> Result<HttpResponse, ActionError> {
        let response = request.send().await.map_err(|error| self.failure(error))?;
        let status = response.status();
        let retry_after = retry_after(response.headers(), self.clock.wall());
        Ok(HttpResponse {
            status,
            is_success: self.success.contains(status),
            retry_after,
            body: read_body(response, limit).await,
        })
    }

    fn failure(&self, error: reqwest::Error) -> ActionError {
        if error.is_connect() {
            ActionError::new(Failure::NotConnected, client::describe(error))
        } else if error.is_timeout() {
            timed_out(self.timeout)
        } else if error.is_builder() {
            ActionError::new(Failure::NotEncoded, client::describe(error))
        } else {
            ActionError::new(Failure::Interrupted, client::describe(error))
        }
    }
}

impl HttpResponse {
    /// Checks that the status is a success. Redirects are not followed.
    ///
    /// # Errors
    /// [`ActionError`] unless the status is one of `success`, by default 2xx.
    pub fn check_status(&self) -> Result<(), ActionError> {
        let status = self.status.as_u16();
        let reason = format!("the receiver responded {}", self.status);
        self.check(Failure::Http { status }, reason)
    }

    /// Checks that the status is a success, and quotes the target's own error code and
    /// description otherwise.
    ///
    /// # Errors
    /// [`ActionError`] unless the status is one of `success`, by default 2xx.
    pub fn check_status_quoting(&self, code: &str, text: Option<&str>) -> Result<(), ActionError> {
        let status = self.status;
        let text = text.map(|text| format!(" ({})", quote(text)));
        let text = text.unwrap_or_default();
        let quoted = quote(code);
        let reason = format!("the receiver responded {status}: {quoted}{text}");
        let status = status.as_u16();
        self.check(Failure::HttpCode { status, code }, reason)
    }

    /// Decodes the body as JSON. `None` if it is not valid or has been cut off.
    #[must_use]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    fn check(&self, failure: Failure<'_>, reason: String) -> Result<(), ActionError> {
        if self.is_success {
            return Ok(());
        }
        Err(ActionError::new(failure, reason).with_retry_after(self.retry_after))
    }
}

/// Bounds an attempt of several requests.
///
/// # Errors
/// That of the attempt, or [`Failure::TimedOut`].
pub async fn within<T>(
    timeout: Duration,
    attempt: impl Future<Output = Result<T, ActionError>>,
) -> Result<T, ActionError> {
    let result = tokio::time::timeout(timeout, attempt).await;
    result.unwrap_or_else(|_| Err(timed_out(timeout)))
}

fn timed_out(timeout: Duration) -> ActionError {
    let reason = format!("no response within {timeout:?}");
    ActionError::new(Failure::TimedOut, reason)
}

/// Encodes fields as `application/x-www-form-urlencoded`.
#[must_use]
pub fn form(fields: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).finish()
}

/// Shortens a target's text and removes control characters, so that it fits a log line.
#[must_use]
pub fn quote(text: &str) -> String {
    let clean = text.chars().filter(|c| !c.is_control());
    clean.take(MAX_QUOTE_CHARS).collect()
}

/// Parses `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let date = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let now = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
    Some(date.saturating_sub(now))
}

/// Reads a body up to the limit. A short body is read completely, so that its connection can be
/// reused. Errors are ignored: the status has already decided the outcome.
async fn read_body(mut response: Response, limit: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = limit - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            break;
        }
    }
    body
}
