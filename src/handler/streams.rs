//! The endpoints at which receivers of Shared Signals see, verify and poll their streams (Shared
//! Signals Framework 1.0, sections 7 and 8; RFC 8936).
//!
//! The operator defines streams in the actions file: they cannot be created, changed, paused or
//! deleted here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::action::shared_signals::poll_queue::Receipt;
use super::action::shared_signals::stream::{DELIVERY_METHODS, SignalStream};
use super::issuer::Issuer;
use crate::http::token::bearer;

/// Section 7.2.
pub const CONFIGURATION_PATH: &str = "/.well-known/ssf-configuration";
const STREAM_PATH: &str = "/ssf/stream";
const STATUS_PATH: &str = "/ssf/status";
const VERIFICATION_PATH: &str = "/ssf/verify";
const POLL_PATH: &str = "/ssf/poll";
/// How long a poll waits for tokens. The listener closes connections after ten seconds.
const POLL_HOLD: Duration = Duration::from_secs(5);
/// The tokens of one response.
const MAX_BATCH: usize = 1_000;
/// Acknowledgments of [`MAX_BATCH`] tokens, with errors.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// A stream whose receiver could not find or verify it.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error(
        "action '{0}', stream: receivers find it by the issuer; set --jwks-listen and \
         --jwks-issuer to the action's issuer, or remove stream"
    )]
    NoIssuer(String),
    #[error("action '{0}', issuer: is not that of --jwks-issuer ({1}); make them equal")]
    OtherIssuer(String, String),
}

#[derive(Clone)]
struct Streams {
    issuer: Issuer,
    all: Arc<[Arc<SignalStream>]>,
}

/// The streams of the receiver that sends a request.
struct OwnStreams(Vec<Arc<SignalStream>>);

#[derive(Deserialize)]
struct StreamQuery {
    stream_id: Option<String>,
}

#[derive(Deserialize)]
struct VerificationRequest {
    stream_id: String,
    state: Option<String>,
}

/// RFC 8936, section 2.2.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PollRequest {
    max_events: Option<usize>,
    #[serde(default)]
    return_immediately: bool,
    #[serde(default)]
    ack: Vec<String>,
    #[serde(default)]
    set_errs: BTreeMap<String, RejectedToken>,
}

#[derive(Deserialize)]
struct RejectedToken {
    err: String,
    description: Option<String>,
}

/// RFC 8936, section 2.3.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PollResponse {
    sets: BTreeMap<Uuid, String>,
    more_available: bool,
}

/// Checks that receivers can find `streams` by the issuer of their tokens.
///
/// # Errors
/// [`StreamError`]
pub fn check_issuers(
    streams: &[Arc<SignalStream>],
    issuer: Option<&Issuer>,
) -> Result<(), StreamError> {
    for stream in streams {
        let name = || stream.id().to_owned();
        let issuer = issuer.ok_or_else(|| StreamError::NoIssuer(name()))?;
        if stream.issuer() != issuer.as_str() {
            let other = issuer.as_str().to_owned();
            return Err(StreamError::OtherIssuer(name(), other));
        }
    }
    Ok(())
}

/// The endpoints of `streams`, and the document that leads to them.
pub(super) fn router(issuer: &Issuer, streams: Vec<Arc<SignalStream>>) -> Router {
    let metadata = json!({
        "spec_version": "1_0",
        "issuer": issuer.as_str(),
        "jwks_uri": issuer.jwks_uri(),
        "delivery_methods_supported": DELIVERY_METHODS,
        "configuration_endpoint": issuer.url_of(STREAM_PATH),
        "status_endpoint": issuer.url_of(STATUS_PATH),
        "verification_endpoint": issuer.url_of(VERIFICATION_PATH),
        "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6750"}],
        "default_subjects": "ALL",
    });
    let streams = Streams {
        issuer: issuer.clone(),
        all: streams.into(),
    };
    Router::new()
        .route(
            CONFIGURATION_PATH,
            get(move || std::future::ready(Json(metadata))),
        )
        .route(STREAM_PATH, get(configuration))
        .route(STATUS_PATH, get(status))
        .route(VERIFICATION_PATH, post(verify))
        .route(&format!("{POLL_PATH}/{{stream}}"), post(poll))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(streams)
}

/// Section 8.1.1.2.
async fn configuration(
    State(streams): State<Streams>,
    own: OwnStreams,
    Query(query): Query<StreamQuery>,
) -> Result<Response, StatusCode> {
    let of = |stream: &Arc<SignalStream>| {
        let poll_endpoint = streams
            .issuer
            .url_of(&format!("{POLL_PATH}/{}", stream.id()));
        stream.configuration(&poll_endpoint)
    };
    Ok(match query.stream_id {
        Some(id) => Json(of(own.get(&id)?)).into_response(),
        None => Json(own.0.iter().map(of).collect::<Vec<_>>()).into_response(),
    })
}

/// Section 8.1.2.1.
async fn status(own: OwnStreams, Query(query): Query<StreamQuery>) -> Result<Response, StatusCode> {
    let id = query.stream_id.ok_or(StatusCode::BAD_REQUEST)?;
    let stream = own.get(&id)?;
    let status = json!({"stream_id": stream.id(), "status": "enabled"});
    Ok(Json(status).into_response())
}

/// Section 8.1.4.2.
async fn verify(
    own: OwnStreams,
    Json(request): Json<VerificationRequest>,
) -> Result<StatusCode, StatusCode> {
    let verified = own.get(&request.stream_id)?.verify(request.state);
    verified.map_err(|_under_way| StatusCode::TOO_MANY_REQUESTS)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn poll(
    own: OwnStreams,
    Path(id): Path<String>,
    Json(request): Json<PollRequest>,
) -> Result<Json<PollResponse>, StatusCode> {
    let queue = own.get(&id)?.poll_queue().ok_or(StatusCode::NOT_FOUND)?;
    // A token that is not of this stream's making needs no answer.
    for jti in request.ack.iter().filter_map(|jti| jti.parse().ok()) {
        queue.resolve(jti, &Receipt::Acknowledged);
    }
    for (jti, RejectedToken { err, description }) in request.set_errs {
        let code = err;
        if let Ok(jti) = jti.parse() {
            queue.resolve(jti, &Receipt::Rejected { code, description });
        }
    }
    let hold = if request.return_immediately {
        Duration::ZERO
    } else {
        POLL_HOLD
    };
    let limit = request.max_events.unwrap_or(MAX_BATCH).min(MAX_BATCH);
    let batch = queue.fetch(limit, hold).await;
    Ok(Json(PollResponse {
        sets: batch.tokens,
        more_available: batch.more_available,
    }))
}

impl OwnStreams {
    fn get(&self, id: &str) -> Result<&Arc<SignalStream>, StatusCode> {
        let found = self.0.iter().find(|stream| stream.id() == id);
        found.ok_or(StatusCode::NOT_FOUND)
    }
}

impl FromRequestParts<Streams> for OwnStreams {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, streams: &Streams) -> Result<Self, Response> {
        let token = bearer(&parts.headers);
        let own = streams.all.iter();
        let own = own.filter(|stream| token.is_some_and(|token| stream.authenticates(token)));
        let own: Vec<_> = own.cloned().collect();
        if own.is_empty() {
            let scheme = [(header::WWW_AUTHENTICATE, "Bearer")];
            return Err((StatusCode::UNAUTHORIZED, scheme).into_response());
        }
        Ok(Self(own))
    }
}
