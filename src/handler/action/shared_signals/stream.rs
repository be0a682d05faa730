//! A stream of security event tokens to one receiver (Shared Signals Framework 1.0).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::error::{ActionError, Failure};
use super::super::http_client::{HttpClient, quote, within};
use super::super::signing::SigningKeys;
use super::poll_queue::{PollQueue, Receipt};
use crate::clock::Clock;
use crate::handler::fields::ActionName;
use crate::handler::secret::Secret;
use crate::http::token::constant_time_eq;

/// RFC 8417, section 2.3.
const TOKEN_TYPE: &str = "secevent+jwt";
/// RFC 8935, section 2.1.
const SET_CONTENT_TYPE: &str = "application/secevent+jwt";
/// Shared Signals Framework 1.0, section 8.1.4.1.
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";
/// A stream has one verification at a time, and the next one this long after it.
const MIN_VERIFICATION_INTERVAL: Duration = Duration::from_secs(1);

/// The type of the events.
pub const EVENT: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
/// The delivery methods of the framework.
pub const DELIVERY_METHODS: [&str; 2] = [PUSH, POLL];
const PUSH: &str = "urn:ietf:rfc:8935";
const POLL: &str = "urn:ietf:rfc:8936";

/// A stream to one receiver.
pub struct SignalStream {
    settings: SignalStreamSettings,
    verifying: Arc<tokio::sync::Mutex<()>>,
    clock: Clock,
}

/// What an action defines of its stream.
pub struct SignalStreamSettings {
    pub name: ActionName,
    pub issuer: String,
    pub audience: String,
    pub keys: SigningKeys,
    pub delivery: SignalDelivery,
    /// Bounds one attempt by a receiver that polls.
    pub timeout: Duration,
    /// Authenticates the receiver; `None` if it cannot see the stream.
    pub receiver_token: Option<Secret>,
}

/// How tokens reach the receiver.
#[derive(Debug)]
pub enum SignalDelivery {
    /// RFC 8935.
    Push(Box<PushReceiver>),
    /// RFC 8936.
    Poll(PollQueue),
}

/// A receiver to which tokens are pushed.
#[derive(Debug)]
pub struct PushReceiver {
    pub http_client: HttpClient,
    pub bearer_token: Option<Secret>,
}

/// The claims of RFC 8417, section 2.2, and CAEP 1.0, section 2. There is no `exp`: past events
/// do not expire.
#[derive(Serialize)]
struct SecurityEventToken<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: i64,
    jti: Uuid,
    sub_id: Value,
    events: Value,
}

/// The error of RFC 8935, section 2.3.
#[derive(Deserialize)]
struct PushErrorResponse {
    err: String,
    description: Option<String>,
}

/// The stream is being verified already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationUnderWay;

impl SignalStream {
    #[must_use]
    pub fn new(settings: SignalStreamSettings) -> Self {
        Self {
            settings,
            verifying: Arc::default(),
            clock: Clock::default(),
        }
    }

    /// The id of the stream, which is the name of the action.
    #[must_use]
    pub fn id(&self) -> &str {
        self.settings.name.as_str()
    }

    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    #[must_use]
    pub fn public_keys(&self) -> Vec<Jwk> {
        self.settings.keys.public()
    }

    /// Returns whether the receiver can see the stream.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        self.settings.receiver_token.is_some()
    }

    /// Returns whether a token is that of the receiver, in constant time.
    #[must_use]
    pub fn authenticates(&self, token: &[u8]) -> bool {
        let receiver_token = self.settings.receiver_token.as_ref();
        receiver_token.is_some_and(|expected| constant_time_eq(expected.expose(), token))
    }

    /// The stream's configuration (section 8.1.1), given the URL of its poll endpoint.
    #[must_use]
    pub fn configuration(&self, poll_endpoint: &str) -> Value {
        let delivery = match &self.settings.delivery {
            SignalDelivery::Push(receiver) => {
                json!({"method": PUSH, "endpoint_url": receiver.http_client.url().as_str()})
            }
            SignalDelivery::Poll(_) => json!({"method": POLL, "endpoint_url": poll_endpoint}),
        };
        json!({
            "stream_id": self.id(),
            "iss": self.settings.issuer,
            "aud": self.settings.audience,
            "delivery": delivery,
            "events_supported": [EVENT],
            "events_requested": [EVENT],
            "events_delivered": [EVENT],
            "min_verification_interval": MIN_VERIFICATION_INTERVAL.as_secs(),
        })
    }

    /// The tokens that wait for a receiver that polls.
    #[must_use]
    pub fn poll_queue(&self) -> Option<&PollQueue> {
        match &self.settings.delivery {
            SignalDelivery::Push(_) => None,
            SignalDelivery::Poll(queue) => Some(queue),
        }
    }

    /// Delivers a token with these events.
    ///
    /// # Errors
    /// [`ActionError`] unless the receiver accepts it.
    pub async fn deliver(
        &self,
        jti: Uuid,
        subject: Value,
        events: Value,
    ) -> Result<(), ActionError> {
        let token = self.sign(jti, subject, events)?;
        match &self.settings.delivery {
            SignalDelivery::Push(receiver) => receiver.push(token).await,
            SignalDelivery::Poll(queue) => {
                let acknowledged = async { check(&queue.offer(jti, token).await) };
                within(self.settings.timeout, acknowledged).await
            }
        }
    }

    /// Delivers a verification event (section 8.1.4), without retries.
    ///
    /// # Errors
    /// [`VerificationUnderWay`]
    pub fn verify(self: &Arc<Self>, state: Option<String>) -> Result<(), VerificationUnderWay> {
        let verifying = Arc::clone(&self.verifying).try_lock_owned();
        let verifying = verifying.map_err(|_| VerificationUnderWay)?;
        let stream = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = stream.deliver_verification(state).await {
                tracing::warn!(action = stream.id(), %error, "stream verification failed");
            }
            tokio::time::sleep(MIN_VERIFICATION_INTERVAL).await;
            drop(verifying);
        });
        Ok(())
    }

    async fn deliver_verification(&self, state: Option<String>) -> Result<(), ActionError> {
        let jti = Uuid::new_v4();
        let subject = json!({"format": "opaque", "id": self.id()});
        let state = state.map_or_else(|| json!({}), |state| json!({ "state": state }));
        let token = self.sign(jti, subject, json!({ VERIFICATION: state }))?;
        match &self.settings.delivery {
            SignalDelivery::Push(receiver) => receiver.push(token).await,
            SignalDelivery::Poll(queue) => {
                queue.offer_verification(jti, token);
                Ok(())
            }
        }
    }

    fn sign(&self, jti: Uuid, subject: Value, events: Value) -> Result<String, ActionError> {
        let claims = SecurityEventToken {
            iss: &self.settings.issuer,
            aud: &self.settings.audience,
            iat: self.clock.wall().as_millis() / 1000,
            jti,
            sub_id: subject,
            events,
        };
        self.settings.keys.sign(TOKEN_TYPE, &claims)
    }
}

impl PushReceiver {
    async fn push(&self, token: String) -> Result<(), ActionError> {
        let mut request = self
            .http_client
            .post()
            .header(CONTENT_TYPE, SET_CONTENT_TYPE)
            .header(ACCEPT, "application/json")
            .body(token);
        if let Some(token) = &self.bearer_token {
            request = request.bearer_auth(token.expose_text().unwrap_or_default());
        }
        let response = self.http_client.send(request).await?;
        match response.json::<PushErrorResponse>() {
            Some(error) => response.check_status_quoting(&error.err, error.description.as_deref()),
            None => response.check_status(),
        }
    }
}

/// The outcome of an attempt by a receiver that polls.
fn check(receipt: &Receipt) -> Result<(), ActionError> {
    match receipt {
        Receipt::Acknowledged => Ok(()),
        Receipt::Rejected { code, description } => {
            let description = description.as_deref().unwrap_or_default();
            let reason = format!(
                "the receiver rejected the token: {} ({})",
                quote(code),
                quote(description)
            );
            let failure = Failure::HttpCode { status: 400, code };
            Err(ActionError::new(failure, reason))
        }
    }
}

impl fmt::Debug for SignalStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignalStream({})", self.id())
    }
}
