//! Pausing and resuming partitions from a page or a script.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::View;
use super::health::Health;
use crate::console::audit::Audit;
use crate::console::live::pauses::{Row, rows};
use crate::console::problem::Problem;
use crate::console::security::{Caller, csrf_of};
use crate::console::state::AppState;
use crate::http::server::PeerAddr;
use crate::policy::pause_writer::PauseError;
use crate::policy::pauses::{PausableRole, Pause, RolePartition};

/// How long the page waits to hear of the pause itself, so as to show it.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);

/// The page's form.
#[derive(Debug, Deserialize)]
pub struct FormBody {
    #[serde(default)]
    csrf: String,
    /// `pause` or `resume`.
    how: String,
    role: PausableRole,
    partition: i32,
    #[serde(default)]
    reason: String,
}

/// The body of `POST /api/v1/pauses` and `DELETE /api/v1/pauses`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiBody {
    role: PausableRole,
    partition: i32,
    #[serde(default)]
    reason: String,
}

/// What is paused.
#[derive(Debug, Serialize)]
struct List {
    pauses: Vec<Row>,
}

/// `POST /health/pauses`
pub async fn page(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<PeerAddr>,
    Form(order): Form<FormBody>,
) -> Response {
    let place = RolePartition {
        role: order.role,
        partition: order.partition,
    };
    let pause = match order.how.as_str() {
        "pause" => Some(order.reason.as_str()),
        "resume" => None,
        _ => return Problem::Invalid("pause or resume".to_owned()).into_response(),
    };
    match write(&app, (&caller, peer, &order.csrf), place, pause).await {
        Ok(()) => {
            // If it takes longer, the page follows by itself.
            let shown = wait_until_visible(&app, place, pause.is_some());
            let _in_time = tokio::time::timeout(SHOWN_WITHIN, shown).await;
            Redirect::to(&format!("{}#pauses", Health::PATH)).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// `GET /api/v1/pauses`
pub async fn list_api(State(app): State<Arc<AppState>>) -> Response {
    let now = app.live.now();
    let pauses = rows(&app.live.state(), now);
    Json(List { pauses }).into_response()
}

/// `POST /api/v1/pauses`
pub async fn pause_api(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<PeerAddr>,
    headers: HeaderMap,
    Json(wish): Json<ApiBody>,
) -> Response {
    let reason = wish.reason.clone();
    answer(&app, (caller, peer, &headers), &wish, Some(&reason)).await
}

/// `DELETE /api/v1/pauses`
pub async fn resume_api(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<PeerAddr>,
    headers: HeaderMap,
    Json(wish): Json<ApiBody>,
) -> Response {
    answer(&app, (caller, peer, &headers), &wish, None).await
}

async fn answer(
    app: &AppState,
    (caller, peer, headers): (Caller, PeerAddr, &HeaderMap),
    wish: &ApiBody,
    pause: Option<&str>,
) -> Response {
    let csrf = csrf_of(headers);
    let place = RolePartition {
        role: wish.role,
        partition: wish.partition,
    };
    match write(app, (&caller, peer, csrf), place, pause).await {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(problem) => problem.into_json(),
    }
}

/// Writes it if the caller may, and says who did, whether it worked or not.
async fn write(
    app: &AppState,
    (caller, peer, csrf): (&Caller, PeerAddr, &str),
    place: RolePartition,
    pause: Option<&str>,
) -> Result<(), Problem> {
    let record = pause.map(|reason| Pause::new(app.live.now(), "console", reason));
    let outcome = match app.security.admit(caller, csrf) {
        Ok(()) => app
            .pauses
            .write(place, record.as_ref())
            .await
            .map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    let action = if pause.is_some() { "pause" } else { "resume" };
    Audit::new(action, caller, peer).tell(&outcome, &place.to_string());
    outcome
}

/// Waits until the console has read it.
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
