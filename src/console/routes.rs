//! The routes of the console.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Router, middleware};

use super::assets;
use super::pages::consumers::Consumers;
use super::pages::dashboard::Dashboard;
use super::pages::dead_letters::{DeadLetters, redrive};
use super::pages::endings::Endings;
use super::pages::errors::Errors;
use super::pages::health::Health;
use super::pages::policies::Policies;
use super::pages::{View, api, login, page, pausing, sessions, theme, topics};
use super::problem::Problem;
use super::security::guard::guard;
use super::state::AppState;

/// Limit on the body of a request, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// Routes requests to the pages and the JSON API, behind the [`guard`].
pub fn router(app: Arc<AppState>) -> Router {
    pages()
        .merge(api_routes())
        .fallback(|| async { Problem::NotFound("there is no such page".to_owned()) })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}

fn pages() -> Router<Arc<AppState>> {
    Router::new()
        .route("/", get(|| async { Redirect::to(Dashboard::PATH) }))
        .route(Dashboard::PATH, get(page::<Dashboard>))
        .route(Consumers::PATH, get(page::<Consumers>))
        .route(Health::PATH, get(page::<Health>))
        .route("/health/pauses", post(pausing::page))
        .route(sessions::PATH, get(sessions::page))
        .route("/sessions/end", post(sessions::end::page))
        .route(Policies::PATH, get(page::<Policies>))
        .route(Endings::PATH, get(page::<Endings>))
        .route(topics::PATH, get(topics::list_page))
        .route("/topics/{topic}/{partition}", get(topics::records_page))
        .route(DeadLetters::PATH, get(page::<DeadLetters>))
        .route("/dead-letters/process", post(redrive::page))
        .route(Errors::PATH, get(page::<Errors>))
        .route("/login", get(login::page).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/theme", post(theme::set))
        .route("/assets/{name}", get(assets::serve))
}

fn api_routes() -> Router<Arc<AppState>> {
    let v1 = Router::new()
        .route(Dashboard::PATH, get(api::<Dashboard>))
        .route(Consumers::PATH, get(api::<Consumers>))
        .route(Health::PATH, get(api::<Health>))
        .route(
            "/pauses",
            get(pausing::list_api)
                .post(pausing::pause_api)
                .delete(pausing::resume_api),
        )
        .route(sessions::PATH, get(sessions::api))
        .route("/revocations", post(sessions::end::api))
        .route(Policies::PATH, get(api::<Policies>))
        .route(Endings::PATH, get(api::<Endings>))
        .route(topics::PATH, get(topics::list_api))
        .route("/topics/{topic}/{partition}", get(topics::records_api))
        .route(DeadLetters::PATH, get(api::<DeadLetters>))
        .route("/dead-letters/{how}", post(redrive::api))
        .route(Errors::PATH, get(api::<Errors>));
    Router::new().nest("/api/v1", v1)
}
