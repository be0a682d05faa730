//! Ending sessions from a page or a script.

use askama::Template;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::{Visit, answer};
use crate::console::problem::Problem;
use crate::console::revocation::Whom;
use crate::console::security::Caller;
use crate::console::server::Peer;
use crate::console::{App, Shared};

const PLACE: (&str, &str) = ("/sessions", "Sessions");

/// What has just been done.
#[derive(Debug, Default, Deserialize)]
pub struct Outcome {
    #[serde(default)]
    done: String,
}

/// The page's form.
#[derive(Debug, Default, Deserialize)]
pub struct Order {
    #[serde(default)]
    csrf: String,
    /// `session` or `user`.
    #[serde(default)]
    what: String,
    #[serde(default)]
    id: String,
    /// Whether a user id that reads as a number is a string.
    #[serde(default)]
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

#[derive(Template, Serialize)]
#[template(path = "console/sessions.html")]
struct Sessions<'a> {
    csrf: Option<&'a str>,
    can_log_in: bool,
    done: bool,
}

/// `GET /sessions`
pub async fn page(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    Query(outcome): Query<Outcome>,
) -> Response {
    let visit = Visit::new(caller, &headers, &uri);
    let view = Sessions {
        csrf: visit.csrf(),
        can_log_in: app.security.logins.is_some(),
        done: !outcome.done.is_empty(),
    };
    answer(&app, &visit, PLACE, Ok(view))
}

/// `POST /sessions/end`
pub async fn end(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    Form(order): Form<Order>,
) -> Response {
    let whom = match order.what.as_str() {
        "user" => Whom::User {
            id: order.id,
            string: order.string,
        },
        _ => Whom::Session(order.id),
    };
    match revoke(&app, &caller, peer, &order.csrf, &whom).await {
        Ok(()) => Redirect::to("/sessions?done=1").into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// `POST /api/v1/revocations`
pub async fn end_api(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Json(order): Json<Revocation>,
) -> Response {
    let csrf = headers
        .get("x-csrf-token")
        .and_then(|value| value.to_str().ok());
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
        Ok(whom) => revoke(&app, &caller, peer, csrf.unwrap_or_default(), &whom).await,
        Err(problem) => Err(problem),
    };
    match done {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(problem) => problem.into_json(),
    }
}

/// Writes the revocation if the caller may, and says who did, whether it worked or not.
async fn revoke(
    app: &Shared,
    caller: &Caller,
    peer: Peer,
    csrf: &str,
    whom: &Whom,
) -> Result<(), Problem> {
    let outcome = match caller {
        _ if app.security.logins.is_none() => Err(Problem::ReadOnly),
        Caller::Anonymous => Err(Problem::Unauthorized),
        _ if !caller.may_change(csrf) => Err(Problem::StaleForm),
        _ => app.revoker.revoke(whom).await,
    };
    let (subject, id) = match whom {
        Whom::Session(id) => ("session", id),
        Whom::User { id, .. } => ("user", id),
    };
    // An audit record that does not say whose session was ended is none: this is the one
    // place outside debug logs where ids are written, pseudonyms with --redact.
    tracing::info!(
        target: "audit",
        action = "revoke",
        by = caller.kind(),
        from = %peer.0.ip(),
        subject,
        id = app.redactor.id(id),
        outcome = if outcome.is_ok() { "done" } else { "refused" },
        "a change was asked for"
    );
    outcome
}
