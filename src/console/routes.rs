//! The routes of the console.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Router, middleware};

use super::assets;
use super::looks::record_looks;
use super::pages::dashboard::DashboardPage;
use super::pages::dead_letters::{DeadLettersPage, disposition};
use super::pages::errors::ErrorsPage;
use super::pages::health::HealthPage;
use super::pages::policies::PoliciesPage;
use super::pages::processes::ProcessesPage;
use super::pages::sessions::revoke;
use super::pages::sources::SourcesPage;
use super::pages::terminal_events::TerminalEventsPage;
use super::pages::{html, json, login, logout, menu, oidc, pauses, sessions, theme, topics};
use super::problem::Problem;
use super::security::guard::guard;
use super::security::oidc::{BACK_CHANNEL_LOGOUT_PATH, CALLBACK_PATH};
use super::state::AppState;

/// Limit on the body of a request, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// Routes requests to the pages and the JSON API, behind the [`guard`].
pub fn router(app: Arc<AppState>) -> Router {
    let looks = middleware::from_fn_with_state(Arc::clone(&app), record_looks);
    let (pages, api) = (personal_pages(), personal_api_v1());
    let pages = Router::new()
        .merge(pages.route_layer(looks.clone()))
        .merge(other_pages());
    let api = Router::new()
        .merge(api.route_layer(looks))
        .merge(other_api_v1());
    pages
        .nest("/api/v1", api)
        .fallback(|| async { Problem::NotFound("page not found".to_owned()) })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}

/// Pages that show personal data.
fn personal_pages() -> Router<Arc<AppState>> {
    Router::new()
        .route(menu::SESSIONS.path, get(sessions::html))
        .route(menu::TERMINAL_EVENTS.path, get(html::<TerminalEventsPage>))
        .route("/topics/{topic}/{partition}", get(topics::records_html))
        .route(menu::DEAD_LETTERS.path, get(html::<DeadLettersPage>))
}

fn other_pages() -> Router<Arc<AppState>> {
    Router::new()
        .route("/", get(|| async { Redirect::to(menu::DASHBOARD.path) }))
        .route(menu::DASHBOARD.path, get(html::<DashboardPage>))
        .route(menu::PROCESSES.path, get(html::<ProcessesPage>))
        .route(menu::HEALTH.path, get(html::<HealthPage>))
        .route("/health/pauses", post(pauses::html))
        .route("/sessions/end", post(revoke::html))
        .route(menu::POLICIES.path, get(html::<PoliciesPage>))
        .route(menu::SOURCES.path, get(html::<SourcesPage>))
        .route(menu::TOPICS.path, get(topics::list_html))
        .route("/dead-letters/process", post(disposition::html))
        .route(menu::ERRORS.path, get(html::<ErrorsPage>))
        .route(menu::LOGIN.path, get(login::html).post(login::log_in))
        .route("/login/oidc", get(oidc::begin))
        .route(CALLBACK_PATH, get(oidc::callback))
        .route(BACK_CHANNEL_LOGOUT_PATH, post(logout::back_channel))
        .route("/logout", post(logout::html))
        .route("/theme", post(theme::set))
        .route("/assets/{name}", get(assets::serve))
}

/// What of the API shows personal data.
fn personal_api_v1() -> Router<Arc<AppState>> {
    Router::new()
        .route(menu::SESSIONS.path, get(sessions::json))
        .route(menu::TERMINAL_EVENTS.path, get(json::<TerminalEventsPage>))
        .route("/topics/{topic}/{partition}", get(topics::records_json))
        .route(menu::DEAD_LETTERS.path, get(json::<DeadLettersPage>))
}

fn other_api_v1() -> Router<Arc<AppState>> {
    Router::new()
        .route(menu::DASHBOARD.path, get(json::<DashboardPage>))
        .route(menu::PROCESSES.path, get(json::<ProcessesPage>))
        .route(menu::HEALTH.path, get(json::<HealthPage>))
        .route(
            "/pauses",
            get(pauses::list_json)
                .post(pauses::pause_json)
                .delete(pauses::resume_json),
        )
        .route("/revocations", post(revoke::json))
        .route(menu::POLICIES.path, get(json::<PoliciesPage>))
        .route(menu::SOURCES.path, get(json::<SourcesPage>))
        .route(menu::TOPICS.path, get(topics::list_json))
        .route("/dead-letters/{operation}", post(disposition::json))
        .route(menu::ERRORS.path, get(json::<ErrorsPage>))
}
