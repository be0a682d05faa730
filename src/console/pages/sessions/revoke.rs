//! Revocation of sessions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use serde::Deserialize;

use super::{count_matching, parse_attributes};
use crate::console::audit::{Actor, Deed};
use crate::console::pages::menu::SESSIONS;
use crate::console::problem::Problem;
use crate::console::revocation::RevocationTarget;
use crate::console::security::role::UserRole;
use crate::console::security::{Caller, csrf_header};
use crate::console::state::AppState;
use crate::session::{EndReason, Initiator};

/// How long the response to a form waits until the page shows the terminal event.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(2);

/// The body of `POST /sessions/end`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RevocationForm {
    csrf: String,
    /// `session`, `user` or `attributes`.
    target: String,
    /// An id, or attributes as in the search.
    id: String,
    /// Whether a user id is a string even if it looks like a number.
    string: bool,
    /// Why the sessions end; may be empty unless they are selected by attributes.
    note: String,
}

/// The body of `POST /api/v1/revocations`: one of `session_id`, `user_id` and `match`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RevocationRequest {
    session_id: Option<String>,
    /// A number or a string, as in the user's events.
    user_id: Option<serde_json::Value>,
    /// A session of the user that goes on.
    except_session_id: Option<String>,
    #[serde(rename = "match")]
    matches: Option<MatchRequest>,
    /// Who ends the sessions.
    by: Option<String>,
    /// Why; required for a `match`.
    note: Option<String>,
    /// Has to be true for a `match`. Otherwise the response has the number of sessions that
    /// would end.
    confirm: bool,
}

/// Selects sessions by attributes; all sessions without attributes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MatchRequest {
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

/// `POST /sessions/end`
pub async fn html(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(actor): Extension<Actor>,
    Form(form): Form<RevocationForm>,
) -> Response {
    let (parameter, target) = match form.target.as_str() {
        "user" => (
            "user",
            RevocationTarget::User {
                id: form.id.clone(),
                string: form.string,
                except: None,
            },
        ),
        "attributes" => match parse_attributes(&form.id) {
            Ok(attributes) => ("attributes", RevocationTarget::Matching(attributes)),
            Err(problem) => return problem.into_response(),
        },
        _ => ("session", RevocationTarget::Session(form.id.clone())),
    };
    let note = Some(form.note.trim()).filter(|note| !note.is_empty());
    let initiator = initiator(None, note);
    match revoke(&app, (&caller, &actor, &form.csrf), &target, &initiator).await {
        Ok(()) => {
            if let RevocationTarget::Session(id) = &target {
                // After a timeout, the page links to the terminal events.
                let visible = wait_until_visible(&app, id);
                let _in_time = tokio::time::timeout(VISIBILITY_TIMEOUT, visible).await;
            }
            let mut query = form_urlencoded::Serializer::new(String::new());
            query
                .append_pair(parameter, &form.id)
                .append_pair("done", "1");
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
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    Json(request): Json<RevocationRequest>,
) -> Response {
    let csrf = csrf_header(&headers);
    let outcome = match request.target() {
        Ok(RevocationTarget::Matching(attributes)) if !request.confirm => {
            require_confirmation(&app, &caller, csrf, &attributes).await
        }
        Ok(target) => {
            let initiator = initiator(request.by.as_deref(), request.note.as_deref());
            revoke(&app, (&caller, &actor, csrf), &target, &initiator).await
        }
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(problem) => problem.into_json(),
    }
}

impl RevocationRequest {
    fn target(&self) -> Result<RevocationTarget, Problem> {
        let except = self.except_session_id.clone();
        match (&self.session_id, &self.user_id, &self.matches, &except) {
            (Some(id), None, None, None) => Ok(RevocationTarget::Session(id.clone())),
            (None, Some(serde_json::Value::String(id)), None, _) => Ok(RevocationTarget::User {
                id: id.clone(),
                string: true,
                except,
            }),
            (None, Some(serde_json::Value::Number(id)), None, _) => Ok(RevocationTarget::User {
                id: id.to_string(),
                string: false,
                except,
            }),
            (None, None, Some(matches), None) => {
                Ok(RevocationTarget::Matching(matches.attributes.clone()))
            }
            _ => Err(Problem::Invalid(
                "pass one of session_id (a string), user_id (a number or a string, optionally with except_session_id) and match".to_owned(),
            )),
        }
    }
}

fn initiator(by: Option<&str>, note: Option<&str>) -> Initiator {
    Initiator {
        by: Some(by.unwrap_or("console").into()),
        note: note.map(Into::into),
    }
}

/// Returns the problem that a revocation of many users' sessions is not confirmed, with their
/// number.
async fn require_confirmation(
    app: &AppState,
    caller: &Caller,
    csrf: &str,
    attributes: &BTreeMap<String, String>,
) -> Result<(), Problem> {
    app.security.authorize(caller, csrf, UserRole::Admin)?;
    let count = count_matching(app, attributes).await?;
    let at_least = if count.gaps.is_empty() {
        ""
    } else {
        "at least "
    };
    Err(Problem::Unconfirmed(format!(
        "{at_least}{} live sessions would end; repeat the request with \"confirm\": true to end them",
        count.sessions
    )))
}

/// Writes the revocation if the caller is allowed to, and an audit record in any case.
async fn revoke(
    app: &AppState,
    (caller, actor, csrf): (&Caller, &Actor, &str),
    target: &RevocationTarget,
    initiator: &Initiator,
) -> Result<(), Problem> {
    let allowed = app.security.authorize(caller, csrf, UserRole::Admin);
    let outcome = match allowed.and_then(|()| require_note(target, initiator)) {
        Ok(()) => app.revoker.revoke(target, initiator).await,
        Err(problem) => Err(problem),
    };
    // An audit record has to identify the session or user: apart from debug logs, only audit
    // records contain ids, or pseudonyms with --redact.
    let subject = match target {
        RevocationTarget::Session(id) => format!("session {}", app.redactor.id(id)),
        RevocationTarget::User { id, .. } => format!("user {}", app.redactor.id(id)),
        RevocationTarget::Matching(attributes) if attributes.is_empty() => "all sessions".into(),
        RevocationTarget::Matching(attributes) => {
            let attributes = app.redactor.attributes(attributes);
            let pairs: Vec<_> = attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("sessions with {}", pairs.join(", "))
        }
    };
    let deed = Deed {
        action: "revoke",
        subject: &subject,
        note: initiator.note.as_deref(),
    };
    app.audit.change(actor, deed, &outcome).await;
    outcome
}

/// Checks that there is a reason to end the sessions of many users.
fn require_note(target: &RevocationTarget, initiator: &Initiator) -> Result<(), Problem> {
    let is_blank = |note: &str| note.trim().is_empty();
    match target {
        RevocationTarget::Matching(_) if initiator.note.as_deref().is_none_or(is_blank) => {
            Err(Problem::Invalid(
                "the sessions of many users end, so a reason is required: fill in the field Reason, or pass it as \"note\"".to_owned(),
            ))
        }
        _ => Ok(()),
    }
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
