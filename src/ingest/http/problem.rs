//! Answers to requests that are refused, as problem details (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why a request is refused. Nothing of it has been written, unless Kafka did not acknowledge it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiProblem {
    #[error("{0}")]
    Invalid(String),
    #[error("a token is required: send the header Authorization: Bearer TOKEN")]
    Unauthorized,
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    TooLarge(String),
    #[error(
        "the content type {0} is not supported: send application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json or text/plain"
    )]
    UnsupportedType(String),
    #[error("this token has written more events than --http-rate-limit allows; retry after {0} s")]
    RateLimit(u64),
    #[error("too many requests at once, or the process is stopping; retry")]
    Busy,
    #[error("{0}")]
    Unavailable(String),
}

impl ApiProblem {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RateLimit(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Seconds after which the request may succeed.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimit(seconds) => Some(*seconds),
            Self::Busy => Some(1),
            Self::Unavailable(_) => Some(5),
            Self::Invalid(_)
            | Self::Unauthorized
            | Self::Forbidden(_)
            | Self::TooLarge(_)
            | Self::UnsupportedType(_) => None,
        }
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct ProblemDetails {
            title: &'static str,
            status: u16,
            detail: String,
        }
        let status = self.status();
        let details = ProblemDetails {
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: self.to_string(),
        };
        let mut response = (status, Json(details)).into_response();
        let headers = response.headers_mut();
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem);
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
