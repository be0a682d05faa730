//! `POST /v1/events`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::body;
use super::cors;
use super::limits::Limits;
use super::metrics::HttpMetrics;
use super::problem::ApiProblem;
use super::tokens::{Sender, SenderTokens};
use super::writer::HttpWriter;
use crate::http::token::bearer;

/// What requests are answered with.
pub struct EventApi {
    pub tokens: SenderTokens,
    pub limits: Arc<Limits>,
    /// Origins whose pages may send events.
    pub origins: Vec<String>,
    pub writer: Arc<HttpWriter>,
    pub metrics: HttpMetrics,
}

/// The answer once all events are acknowledged.
#[derive(Serialize)]
struct Accepted {
    accepted: usize,
}

/// Answers a preflight request of a browser.
pub async fn preflight(State(api): State<Arc<EventApi>>, headers: HeaderMap) -> Response {
    cors::preflight(&headers, &api.origins)
}

/// Writes the events of a body, and answers 202 once Kafka has acknowledged all of them.
pub async fn post(
    State(api): State<Arc<EventApi>>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let origin = cors::check_origin(&headers, &api.origins);
    let result = match &origin {
        Ok(_) => api.accept(&uri, &headers, body).await,
        Err(problem) => Err(problem.clone()),
    };
    let response = match result {
        Ok(accepted) => (StatusCode::ACCEPTED, axum::Json(Accepted { accepted })).into_response(),
        Err(problem) => problem.into_response(),
    };
    api.metrics.answered(response.status().as_u16());
    cors::allow(response, origin.ok().flatten())
}

impl EventApi {
    async fn accept(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<usize, ApiProblem> {
        let _permit = self.limits.enter().ok_or(ApiProblem::Busy)?;
        let sender = self.sender(uri, headers)?;
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                ApiProblem::TooLarge("the body is larger than --http-max-body".to_owned())
            }
            _ => ApiProblem::Invalid(rejection.body_text()),
        })?;
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let events = body::events(content_type, &body)?;
        if sender.is_public && events.iter().any(|event| !event.is_activity) {
            let problem = "a public token may write activity only".to_owned();
            return Err(ApiProblem::Forbidden(problem));
        }
        let taken = self.limits.take(&sender.name, events.len());
        taken.map_err(ApiProblem::RateLimit)?;
        self.writer.write(&events).await?;
        self.metrics.written(&sender.name, events.len());
        Ok(events.len())
    }

    fn sender(&self, uri: &Uri, headers: &HeaderMap) -> Result<Sender, ApiProblem> {
        let bearer = bearer(headers);
        let query = uri.query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "token")
            .map(|(_, token)| token);
        let query = query.as_deref().map(str::as_bytes);
        let sender = self.tokens.sender(bearer, query);
        let sender = sender.ok_or(ApiProblem::Unauthorized)?;
        if sender.is_public && !headers.contains_key(header::ORIGIN) {
            let problem = "a public token is for pages: the request has no Origin".to_owned();
            return Err(ApiProblem::Forbidden(problem));
        }
        Ok(sender)
    }
}
