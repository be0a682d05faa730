//! Which path leads where.

use askama::Template;
use axum::extract::{DefaultBodyLimit, Form, State};
use axum::http::Uri;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use serde::Deserialize;

use super::assets;
use super::pages::consumers::Consumers;
use super::pages::dashboard::Dashboard;
use super::pages::dead_letters::{DeadLetters, redrive};
use super::pages::endings::Endings;
use super::pages::errors::Errors;
use super::pages::health::Health;
use super::pages::policies::Policies;
use super::pages::{
    RequestContext, THEME_COOKIE, View, api, frame, page, pausing, render, sessions, topics,
};
use super::problem::Problem;
use super::security::Caller;
use super::security::guard::{COOKIE, cookie, guard};
use super::security::logins::LOGIN_LASTS;
use super::server::Peer;
use super::state::App;

/// The longest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// How long a wrong token holds its sender up: guessing takes for ever.
const WRONG_TOKEN_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// All of it.
pub fn router(app: App) -> Router {
    let pages = Router::new()
        .route("/", get(|| async { Redirect::to("/dashboard") }))
        .merge(both::<Dashboard>())
        .merge(both::<Consumers>())
        .merge(both::<Health>())
        .merge(both::<Policies>())
        .merge(both::<Endings>())
        .merge(both::<DeadLetters>())
        .merge(both::<Errors>())
        .route("/dead-letters/redrive", post(redrive::page))
        .route("/api/v1/dead-letters/{how}", post(redrive::api))
        .route("/health/pauses", post(pausing::page))
        .route(
            "/api/v1/pauses",
            get(pausing::list_api)
                .post(pausing::pause_api)
                .delete(pausing::resume_api),
        )
        .route("/sessions", get(sessions::page))
        .route("/sessions/end", post(sessions::end::page))
        .route("/api/v1/sessions", get(sessions::api))
        .route("/topics", get(topics::list_page))
        .route("/topics/{topic}/{partition}", get(topics::records_page))
        .route("/api/v1/topics", get(topics::list_api))
        .route(
            "/api/v1/topics/{topic}/{partition}",
            get(topics::records_api),
        )
        .route("/api/v1/revocations", post(sessions::end::api));
    pages
        .route("/login", get(login_page).post(log_in))
        .route("/logout", post(log_out))
        .route("/theme", post(theme))
        .route("/assets/{name}", get(assets::serve))
        .fallback(|| async { Problem::NotFound("there is no such page".to_owned()) })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(App::clone(&app), guard))
        .with_state(app)
}

/// A page, and its JSON.
fn both<V: View>() -> Router<App> {
    let handler: MethodRouter<App> = get(page::<V>);
    Router::new()
        .route(V::PATH, handler)
        .route(&format!("/api/v1{}", V::PATH), get(api::<V>))
}

#[derive(Template)]
#[template(path = "console/login.html")]
struct Login {
    wrong: bool,
    readonly: bool,
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    token: String,
}

#[derive(Deserialize)]
struct FormToken {
    #[serde(default)]
    csrf: String,
}

#[derive(Deserialize)]
struct Theme {
    #[serde(default)]
    theme: String,
    #[serde(default)]
    back: String,
}

async fn login_page(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let visit = RequestContext::new(caller, &headers, &uri);
    let login = Login {
        wrong: uri.query() == Some("wrong"),
        readonly: app.security.logins.is_none(),
    };
    frame(&app, &visit, ("/login", "Log in"), &render(&login), false)
}

async fn log_in(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Form(given): Form<Given>,
) -> Response {
    let Some(logins) = &app.security.logins else {
        return Problem::ReadOnly.into_response();
    };
    let right = logins.is_token(given.token.trim().as_bytes());
    let outcome = if right { "done" } else { "refused" };
    tracing::info!(target: "audit", action = "login", from = %peer.0.ip(), outcome, "a login was asked for");
    if !right {
        tokio::time::sleep(WRONG_TOKEN_PAUSE).await;
        return Redirect::to("/login?wrong").into_response();
    }
    let (name, seconds) = (logins.log_in(), LOGIN_LASTS.as_secs());
    let cookie = format!("{COOKIE}={name}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict");
    with_cookie(Redirect::to("/dashboard"), &cookie)
}

async fn log_out(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Form(form): Form<FormToken>,
) -> Response {
    if !caller.may_change(&form.csrf) {
        return Problem::StaleForm.into_response();
    }
    if let (Some(logins), Some(cookie)) = (&app.security.logins, cookie(&headers, COOKIE)) {
        logins.log_out(&cookie);
    }
    let cookie = format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    with_cookie(Redirect::to("/dashboard"), &cookie)
}

/// Keeps how the pages are to look; needs no token, and no script.
async fn theme(Form(form): Form<Theme>) -> Response {
    let theme = if form.theme == "dark" {
        "dark"
    } else {
        "light"
    };
    // A path of this console: `//host` and `/\host` lead elsewhere.
    let path = form.back.strip_prefix('/');
    let inside = path.is_some_and(|rest| !rest.starts_with(['/', '\\']) && rest.is_ascii());
    let back = if inside {
        form.back.as_str()
    } else {
        "/dashboard"
    };
    let cookie = format!("{THEME_COOKIE}={theme}; Path=/; Max-Age=31536000; SameSite=Strict");
    with_cookie(Redirect::to(back), &cookie)
}

fn with_cookie(answer: impl IntoResponse, cookie: &str) -> Response {
    let mut answer = answer.into_response();
    // Made of hexadecimal digits and constants.
    if let Ok(value) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
    answer
}
