//! Why a request gets no answer: as a page for people, as JSON under `/api/`.

use askama::Template;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The request is for another host: see DNS rebinding.
    #[error(
        "the console does not answer for the host '{0}': ask for localhost, or start it with --allowed-host"
    )]
    ForeignHost(String),
    /// Another site's page sent it.
    #[error(
        "this request did not come from a page of this console: go back and send the form again"
    )]
    ForeignOrigin,
    /// The token is missing.
    #[error("this takes the token: log in, or send it as Authorization: Bearer")]
    Unauthorized,
    /// The form is too old, or not this browser's.
    #[error("the form is not of this login: reload the page and send it again")]
    StaleForm,
    /// Nothing can be changed here.
    #[error("this console is read-only: start it with --auth-token-file to change something")]
    ReadOnly,
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The question makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Too many ask at once.
    #[error("the console is busy with other requests: try again in a moment")]
    Busy,
    /// Kafka does not answer, or refuses.
    #[error(
        "Kafka does not answer as it should: {0}; check the brokers, and what this user may read"
    )]
    Kafka(String),
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::ForeignHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::ForeignOrigin | Self::StaleForm | Self::ReadOnly => StatusCode::FORBIDDEN,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Kafka(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// The problem as JSON.
    #[must_use]
    pub fn into_json(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: String,
        }
        let error = self.to_string();
        (self.status(), Json(Body { error })).into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let page = ProblemPage {
            title: self.status().canonical_reason().unwrap_or("Problem"),
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
