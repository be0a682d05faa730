//! Ending sessions from a page or a script.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use serde::Deserialize;

use crate::console::audit::Audit;
use crate::console::problem::Problem;
use crate::console::revocation::Whom;
use crate::console::security::{Caller, csrf_of};
use crate::console::state::AppState;
use crate::http::server::PeerAddr;
use crate::session::EndReason;

/// How long the page waits for the ending, so as to show it.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);

/// The page's form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct FormBody {
    csrf: String,
    /// `session` or `user`.
    what: String,
    id: String,
    /// Whether a user id that reads as a number is a string.
    string: bool,
}

/// The body of `POST /api/v1/revocations`: one of the two.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The session to end.
    session_id: Option<String>,
    /// The user whose live sessions to end: a number or a string, as its events have it.
    user_id: Option<serde_json::Value>,
}

/// `POST /sessions/end`
pub async fn page(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<PeerAddr>,
    Form(order): Form<FormBody>,
) -> Response {
    let (parameter, whom) = match order.what.as_str() {
        "user" => (
            "user",
            Whom::User {
                id: order.id,
                string: order.string,
            },
        ),
        _ => ("session", Whom::Session(order.id)),
    };
    match revoke(&app, &caller, peer, &order.csrf, &whom).await {
        Ok(()) => {
            let id = match &whom {
                Whom::Session(id) => {
                    let shown = tokio::time::timeout(SHOWN_WITHIN, ended(&app, id));
                    // If it takes longer, the page says where it will show.
                    let _in_time = shown.await;
                    id
                }
                Whom::User { id, .. } => id,
            };
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair(parameter, id).append_pair("done", "1");
            if order.string {
                query.append_pair("string", "true");
            }
            Redirect::to(&format!("/sessions?{}", query.finish())).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// `POST /api/v1/revocations`
pub async fn api(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<PeerAddr>,
    headers: HeaderMap,
    Json(order): Json<Revocation>,
) -> Response {
    let whom = match (order.session_id, order.user_id) {
        (Some(id), None) => Ok(Whom::Session(id)),
        (None, Some(serde_json::Value::String(id))) => Ok(Whom::User { id, string: true }),
        (None, Some(serde_json::Value::Number(id))) => Ok(Whom::User {
            id: id.to_string(),
            string: false,
        }),
        _ => Err(Problem::Invalid(
            "give one of session_id and user_id, the latter a number or a string".to_owned(),
        )),
    };
    let done = match whom {
        Ok(whom) => revoke(&app, &caller, peer, csrf_of(&headers), &whom).await,
        Err(problem) => Err(problem),
    };
    match done {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(problem) => problem.into_json(),
    }
}

/// Writes the revocation if the caller may, and says who did, whether it worked or not.
async fn revoke(
    app: &AppState,
    caller: &Caller,
    peer: PeerAddr,
    csrf: &str,
    whom: &Whom,
) -> Result<(), Problem> {
    let outcome = match app.security.admit(caller, csrf) {
        Ok(()) => app.revoker.revoke(whom).await,
        Err(problem) => Err(problem),
    };
    let (subject, id) = match whom {
        Whom::Session(id) => ("session", id),
        Whom::User { id, .. } => ("user", id),
    };
    // An audit record that does not say whose session was ended is none: this is the one
    // place outside debug logs where ids are written, pseudonyms with --redact.
    Audit::new("revoke", caller, peer)
        .tell(&outcome, &format!("{subject} {}", app.redactor.id(id)));
    outcome
}

/// Waits until the console has read the terminal event of the revoked session.
async fn ended(app: &AppState, id: &str) {
    let mut changes = app.live.changes();
    let known = || {
        let state = app.live.state();
        let mut endings = state.endings.iter();
        endings.any(|(_, ended)| ended.session_id == id && ended.reason == EndReason::Revoked)
    };
    while !known() {
        if changes.changed().await.is_err() {
            return;
        }
    }
}
