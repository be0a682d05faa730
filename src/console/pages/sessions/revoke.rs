//! Revocation of sessions.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use serde::Deserialize;

use crate::console::audit::AuditRecord;
use crate::console::pages::menu::SESSIONS;
use crate::console::problem::Problem;
use crate::console::revocation::RevocationTarget;
use crate::console::security::{Caller, csrf_header};
use crate::console::state::AppState;
use crate::http::server::PeerAddr;
use crate::session::EndReason;

/// How long the response to a form waits until the page shows the terminal event.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(2);

/// The body of `POST /sessions/end`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RevocationForm {
    csrf: String,
    /// `session` or `user`.
    target: String,
    id: String,
    /// Whether a user id is a string even if it looks like a number.
    string: bool,
}

/// The body of `POST /api/v1/revocations`: one of the two.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevocationRequest {
    session_id: Option<String>,
    /// A number or a string, as in the user's events.
    user_id: Option<serde_json::Value>,
}

/// `POST /sessions/end`
pub async fn html(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<PeerAddr>,
    Form(form): Form<RevocationForm>,
) -> Response {
    let (parameter, target) = match form.target.as_str() {
        "user" => (
            "user",
            RevocationTarget::User {
                id: form.id,
                string: form.string,
            },
        ),
        _ => ("session", RevocationTarget::Session(form.id)),
    };
    match revoke(&app, &caller, peer, &form.csrf, &target).await {
        Ok(()) => {
            let id = match &target {
                RevocationTarget::Session(id) => {
                    // After a timeout, the page links to the terminal events.
                    let visible = wait_until_visible(&app, id);
                    let _in_time = tokio::time::timeout(VISIBILITY_TIMEOUT, visible).await;
                    id
                }
                RevocationTarget::User { id, .. } => id,
            };
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair(parameter, id).append_pair("done", "1");
            if form.string {
                query.append_pair("string", "true");
            }
            Redirect::to(&format!("{}?{}", SESSIONS.path, query.finish())).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// `POST /api/v1/revocations`
pub async fn json(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<PeerAddr>,
    headers: HeaderMap,
    Json(request): Json<RevocationRequest>,
) -> Response {
    let target = match (request.session_id, request.user_id) {
        (Some(id), None) => Ok(RevocationTarget::Session(id)),
        (None, Some(serde_json::Value::String(id))) => {
            Ok(RevocationTarget::User { id, string: true })
        }
        (None, Some(serde_json::Value::Number(id))) => Ok(RevocationTarget::User {
            id: id.to_string(),
            string: false,
        }),
        _ => Err(Problem::Invalid(
            "pass one of session_id (a string) and user_id (a number or a string)".to_owned(),
        )),
    };
    let outcome = match target {
        Ok(target) => revoke(&app, &caller, peer, csrf_header(&headers), &target).await,
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(problem) => problem.into_json(),
    }
}

/// Writes the revocation if the caller is allowed to, and an audit record in any case.
async fn revoke(
    app: &AppState,
    caller: &Caller,
    peer: PeerAddr,
    csrf: &str,
    target: &RevocationTarget,
) -> Result<(), Problem> {
    let outcome = match app.security.authorize(caller, csrf) {
        Ok(()) => app.revoker.revoke(target).await,
        Err(problem) => Err(problem),
    };
    let (subject, id) = match target {
        RevocationTarget::Session(id) => ("session", id),
        RevocationTarget::User { id, .. } => ("user", id),
    };
    // An audit record has to identify the session or user: apart from debug logs, only audit
    // records contain ids, or pseudonyms with --redact.
    let subject = format!("{subject} {}", app.redactor.id(id));
    AuditRecord::new("revoke", caller, peer).log(&outcome, &subject);
    outcome
}

/// Waits until the live state has the terminal event of a revoked session.
async fn wait_until_visible(app: &AppState, id: &str) {
    let mut changes = app.live.changes();
    let is_revoked = || {
        let state = app.live.state();
        let mut terminal_events = state.terminal_events.iter();
        terminal_events
            .any(|(_, ended)| ended.session_id == id && ended.reason == EndReason::Revoked)
    };
    while !is_revoked() {
        if changes.changed().await.is_err() {
            return;
        }
    }
}
