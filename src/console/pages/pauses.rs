//! Pauses and resumptions of partitions.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::menu::HEALTH;
use crate::console::audit::{Actor, Deed};
use crate::console::live::pauses::{PauseRow, pause_rows};
use crate::console::problem::Problem;
use crate::console::security::role::UserRole;
use crate::console::security::{Caller, csrf_header};
use crate::console::state::AppState;
use crate::policy::pause_writer::PauseError;
use crate::policy::pauses::{PausableRole, Pause, RolePartition};

/// How long the response to a form waits until the page shows the change.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(2);

/// The body of `POST /health/pauses`.
#[derive(Debug, Deserialize)]
pub struct PauseForm {
    #[serde(default)]
    csrf: String,
    /// `pause` or `resume`.
    operation: String,
    role: PausableRole,
    partition: i32,
    #[serde(default)]
    reason: String,
}

/// The body of `POST /api/v1/pauses` and `DELETE /api/v1/pauses`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    role: PausableRole,
    partition: i32,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Serialize)]
struct PausesResponse {
    pauses: Vec<PauseRow>,
}

/// `POST /health/pauses`
pub async fn html(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(actor): Extension<Actor>,
    Form(form): Form<PauseForm>,
) -> Response {
    let place = RolePartition {
        role: form.role,
        partition: form.partition,
    };
    let reason = match form.operation.as_str() {
        "pause" => Some(form.reason.as_str()),
        "resume" => None,
        other => {
            let text = format!("unknown operation '{other}' on partitions; use pause or resume");
            return Problem::Invalid(text).into_response();
        }
    };
    match write(&app, (&caller, &actor, &form.csrf), place, reason).await {
        Ok(()) => {
            // After a timeout, the open page shows the change once it is read.
            let visible = wait_until_visible(&app, place, reason.is_some());
            let _in_time = tokio::time::timeout(VISIBILITY_TIMEOUT, visible).await;
            Redirect::to(&format!("{}#pauses", HEALTH.path)).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// `GET /api/v1/pauses`
pub async fn list_json(State(app): State<Arc<AppState>>) -> Response {
    let now = app.live.now();
    let pauses = pause_rows(&app.live.state(), now);
    Json(PausesResponse { pauses }).into_response()
}

/// `POST /api/v1/pauses`
pub async fn pause_json(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    Json(request): Json<PauseRequest>,
) -> Response {
    let sender = (&caller, &actor, csrf_header(&headers));
    let written = write(&app, sender, request.place(), Some(&request.reason)).await;
    accepted_or_problem(written)
}

/// `DELETE /api/v1/pauses`
pub async fn resume_json(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    Json(request): Json<PauseRequest>,
) -> Response {
    let sender = (&caller, &actor, csrf_header(&headers));
    accepted_or_problem(write(&app, sender, request.place(), None).await)
}

fn accepted_or_problem(written: Result<(), Problem>) -> Response {
    match written {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(problem) => problem.into_json(),
    }
}

impl PauseRequest {
    fn place(&self) -> RolePartition {
        RolePartition {
            role: self.role,
            partition: self.partition,
        }
    }
}

/// Pauses a partition for `reason`, or resumes it without one, if the caller is allowed to.
/// Writes an audit record in any case.
async fn write(
    app: &AppState,
    (caller, actor, csrf): (&Caller, &Actor, &str),
    place: RolePartition,
    reason: Option<&str>,
) -> Result<(), Problem> {
    let pause = reason.map(|reason| Pause::new(app.live.now(), "console", reason));
    let outcome = match app.security.authorize(caller, csrf, UserRole::Operator) {
        Ok(()) => app
            .pauses
            .write(place, pause.as_ref())
            .await
            .map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    let deed = Deed {
        action: if pause.is_some() { "pause" } else { "resume" },
        subject: &place.to_string(),
        note: reason.filter(|reason| !reason.is_empty()),
    };
    app.audit.change(actor, deed, &outcome).await;
    outcome
}

/// Waits until the live state has the change.
async fn wait_until_visible(app: &AppState, place: RolePartition, paused: bool) {
    let mut changes = app.live.changes();
    let is_paused = || {
        let state = app.live.state();
        let paused = state.policies.pauses().of(place.role);
        paused.contains(&place.partition)
    };
    while is_paused() != paused {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

impl From<PauseError> for Problem {
    fn from(error: PauseError) -> Self {
        match error {
            PauseError::NoPartition { .. } => Self::Invalid(error.to_string()),
            PauseError::Topic(_) | PauseError::Write(_) => Self::Kafka(error.to_string()),
        }
    }
}
