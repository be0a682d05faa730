//! Errors of requests: a page for browsers, JSON below `/api/`.

use askama::Template;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;

use super::security::role::UserRole;

/// The error of a request.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The `Host` header is not allowed, as in DNS rebinding.
    #[error(
        "the host '{0}' is not allowed; use localhost, or start the console with --allowed-host"
    )]
    ForeignHost(String),
    /// A page of another site sent the request.
    #[error(
        "the request does not come from a page of this console; go back and submit the form again"
    )]
    ForeignOrigin,
    #[error("a token is required; log in, or send the header Authorization: Bearer TOKEN")]
    Unauthorized,
    /// The address has sent too many wrong tokens.
    #[error("too many wrong tokens from this address; try again in a minute")]
    TooManyAttempts,
    /// The CSRF token is missing, outdated or of another browser.
    #[error("the form belongs to another login; reload the page and submit it again")]
    StaleForm,
    #[error(
        "the console is read-only; start it with --auth-token-file or --oidc-issuer to allow changes"
    )]
    ReadOnly,
    /// The user's role is not enough.
    #[error("this takes the role {}, and this login or token has the role {}: ask an administrator of the console", needed.as_str(), role.as_str())]
    NotPermitted { role: UserRole, needed: UserRole },
    /// A login at the OpenID provider failed.
    #[error("{0}")]
    LoginFailed(String),
    #[error("{0}")]
    NotFound(String),
    /// The parameters or the body are invalid.
    #[error("{0}")]
    Invalid(String),
    /// A change that concerns many users needs a confirmation.
    #[error("{0}")]
    Unconfirmed(String),
    /// The limit on concurrent requests of this kind is reached.
    #[error("too many requests at once; try again in a moment")]
    Busy,
    /// A request to the brokers failed.
    #[error(
        "Kafka request failed: {0}; check the brokers and the permissions of the console's user"
    )]
    Kafka(String),
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::ForeignHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::ForeignOrigin
            | Self::StaleForm
            | Self::ReadOnly
            | Self::NotPermitted { .. }
            | Self::LoginFailed(_) => StatusCode::FORBIDDEN,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unconfirmed(_) => StatusCode::CONFLICT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Kafka(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// The problem as a JSON response.
    #[must_use]
    pub fn into_json(self) -> Response {
        #[derive(Serialize)]
        struct ProblemBody {
            error: String,
        }
        let error = self.to_string();
        (self.status(), Json(ProblemBody { error })).into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let page = ProblemPage {
            title: self.status().canonical_reason().unwrap_or("Error"),
            text: self.to_string(),
        };
        match page.render() {
            Ok(html) => (self.status(), Html(html)).into_response(),
            Err(_) => self.status().into_response(),
        }
    }
}

#[derive(Template)]
#[template(path = "console/problem.html")]
struct ProblemPage {
    title: &'static str,
    text: String,
}
