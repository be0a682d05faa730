//! Login with the console's token.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::Extension;
use axum::extract::{Form, State};
use axum::http::Uri;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::menu::{DASHBOARD, LOGIN};
use super::{RequestContext, layout, render};
use crate::console::audit::{Actor, Deed};
use crate::console::problem::Problem;
use crate::console::security::Caller;
use crate::console::security::guard::login_cookie;
use crate::console::security::logins::{Logins, TokenCheck};
use crate::console::security::role::UserRole;
use crate::console::state::AppState;

/// Delay of the response to a wrong token, which slows guessing down.
const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);

#[derive(Template)]
#[template(path = "console/login.html")]
struct LoginPage {
    wrong: bool,
    /// Whether users log in with a token.
    token: bool,
    /// Whether users log in at an OpenID provider.
    oidc: bool,
}

/// The body of `POST /login`.
#[derive(Debug, Deserialize)]
pub struct LoginForm {
    #[serde(default)]
    token: String,
}

/// `GET /login`
pub async fn html(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let context = RequestContext::new(caller, &headers, &uri);
    let page = LoginPage {
        wrong: uri.query() == Some("wrong"),
        token: app.security.logins.as_ref().is_some_and(Logins::has_token),
        oidc: app.security.oidc.is_some(),
    };
    layout(&app, &context, LOGIN, &render(&page), false)
}

/// `POST /login`
pub async fn log_in(
    State(app): State<Arc<AppState>>,
    Extension(actor): Extension<Actor>,
    Form(form): Form<LoginForm>,
) -> Response {
    let Some(logins) = &app.security.logins else {
        return Problem::ReadOnly.into_response();
    };
    let check = logins.check_token(actor.from, form.token.trim().as_bytes());
    let outcome = match check {
        TokenCheck::Accepted => Ok(()),
        TokenCheck::Wrong => Err("wrong token"),
        TokenCheck::TooMany => Err("too many wrong tokens"),
    };
    audit_login(&app, &actor, &outcome).await;
    match check {
        TokenCheck::Accepted => {}
        TokenCheck::Wrong => {
            tokio::time::sleep(WRONG_TOKEN_DELAY).await;
            return Redirect::to("/login?wrong").into_response();
        }
        TokenCheck::TooMany => return Problem::TooManyAttempts.into_response(),
    }
    let value = logins.log_in(UserRole::Admin, None);
    let cookie = login_cookie(&value, app.security.is_secure());
    with_cookie(Redirect::to(DASHBOARD.path), &cookie)
}

/// Records a login.
pub(super) async fn audit_login<T, E: Display>(
    app: &AppState,
    actor: &Actor,
    outcome: &Result<T, E>,
) {
    let deed = Deed {
        action: "login",
        subject: "console",
        note: None,
    };
    app.audit.change(actor, deed, outcome).await;
}

/// Adds a `Set-Cookie` header to a response.
pub(super) fn with_cookie(response: impl IntoResponse, cookie: &str) -> Response {
    let mut response = response.into_response();
    // Cookies consist of hexadecimal digits and constants, so they are valid header values.
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}
