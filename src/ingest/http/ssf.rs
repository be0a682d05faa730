//! `POST /v1/ssf/events`: a receiver of Shared Signals by push (RFC 8935).
//!
//! | step | file |
//! |---|---|
//! | whose tokens are accepted, and their keys | `transmitters.rs` |
//! | verify a token | `token.rs` |
//! | from its events to revocations | `events.rs` |

pub mod events;
pub mod token;
pub mod transmitters;

use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::body;
use super::limits::Limits;
use super::problem::ApiProblem;
use super::writer::HttpWriter;
use token::{TokenProblem, verify};
use transmitters::Transmitter;

/// The content type of tokens (RFC 8935, section 2).
const CONTENT_TYPE: &str = "application/secevent+jwt";
/// Tokens that are remembered. A token that is sent again after that revokes nothing new either: a
/// revocation has the time of its event, and ends no session that began later.
const MAX_REMEMBERED: usize = 100_000;

/// What tokens are received with.
pub struct Receiver {
    transmitters: Vec<Transmitter>,
    limits: Arc<Limits>,
    writer: Arc<HttpWriter>,
    seen: Mutex<SeenTokens>,
}

/// Issuers and ids of the latest tokens.
#[derive(Default)]
struct SeenTokens {
    all: HashSet<(String, String)>,
    oldest_first: VecDeque<(String, String)>,
}

impl Receiver {
    /// Reads the transmitters.
    ///
    /// # Errors
    /// If their file cannot be used.
    pub fn new(path: &Path, limits: Arc<Limits>, writer: Arc<HttpWriter>) -> anyhow::Result<Self> {
        Ok(Self {
            transmitters: transmitters::read(path)?,
            limits,
            writer,
            seen: Mutex::default(),
        })
    }

    async fn receive(
        &self,
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<(), PushProblem> {
        let _permit = self.limits.enter().ok_or(ApiProblem::Busy)?;
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let media_type = content_type.and_then(|value| value.split(';').next());
        let invalid = |problem: &str| TokenProblem::Invalid(problem.to_owned());
        if !media_type.is_some_and(|one| one.trim().eq_ignore_ascii_case(CONTENT_TYPE)) {
            return Err(invalid("the content type is not application/secevent+jwt").into());
        }
        let body = body.map_err(|rejection| invalid(&rejection.body_text()))?;
        let token = str::from_utf8(&body).map_err(|_| invalid("the body is not a JWT"))?;
        let (transmitter, claims) = verify(token.trim(), &self.transmitters).await?;
        let id = (claims.iss.clone(), claims.jti.clone());
        if self.seen().all.contains(&id) {
            tracing::debug!(
                issuer = claims.iss,
                jti = claims.jti,
                "received a token again"
            );
            return Ok(());
        }
        let requested = claims.requested(transmitter.opaque_subject);
        let requested = requested.map_err(TokenProblem::Invalid)?;
        if requested.is_verification {
            tracing::info!(issuer = claims.iss, "the transmitter verified the stream");
        }
        if !requested.revocations.is_empty() {
            let events = json!(requested.revocations).to_string();
            let events = body::events(None, events.as_bytes());
            let events = events.map_err(|problem| TokenProblem::Invalid(problem.to_string()))?;
            self.writer.write(&events).await?;
            let count = events.len();
            tracing::info!(
                issuer = claims.iss,
                jti = claims.jti,
                count,
                "revoked sessions"
            );
        }
        // Not before it has been written: the transmitter sends it again until then.
        self.seen().remember(id);
        Ok(())
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, SeenTokens> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SeenTokens {
    fn remember(&mut self, id: (String, String)) {
        if !self.all.insert(id.clone()) {
            return;
        }
        self.oldest_first.push_back(id);
        if self.oldest_first.len() > MAX_REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.all.remove(&oldest);
        }
    }
}

/// Why a token is not accepted.
#[derive(Debug)]
enum PushProblem {
    Token(TokenProblem),
    Port(ApiProblem),
}

impl From<TokenProblem> for PushProblem {
    fn from(problem: TokenProblem) -> Self {
        Self::Token(problem)
    }
}

impl From<ApiProblem> for PushProblem {
    fn from(problem: ApiProblem) -> Self {
        Self::Port(problem)
    }
}

/// Receives a token: 202 once its revocations are acknowledged by Kafka.
pub async fn post(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let problem = match receiver.receive(&headers, body).await {
        Ok(()) => return StatusCode::ACCEPTED.into_response(),
        Err(PushProblem::Port(problem)) => return problem.into_response(),
        Err(PushProblem::Token(problem)) => problem,
    };
    tracing::warn!(%problem, "refused a security event token");
    let description = problem.to_string();
    match problem.code() {
        Some(code) => {
            let error = json!({"err": code, "description": description});
            (StatusCode::BAD_REQUEST, Json(error)).into_response()
        }
        None => ApiProblem::Unavailable(description).into_response(),
    }
}
