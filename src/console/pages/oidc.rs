//! Login at an OpenID provider.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::header::{self, HeaderMap};
use axum::response::{Html, IntoResponse, Redirect, Response};

use super::login::{audit_login, with_cookie};
use super::menu::DASHBOARD;
use crate::console::audit::Actor;
use crate::console::problem::Problem;
use crate::console::proxy::REFRESH_TO;
use crate::console::security::guard::{cookie, login_cookie};
use crate::console::security::logins::{Logins, ProviderUser};
use crate::console::security::oidc::{Callback, Flow, OidcClient, OidcError};
use crate::console::security::role::UserRole;
use crate::console::state::AppState;

/// The cookie of a browser whose user is at the provider.
const FLOW_COOKIE: &str = "sundown_oidc";
/// What the seal of that cookie is for.
const FLOW: &str = "oidc";
/// The time that users have at the provider.
const FLOW_LIFETIME: Duration = Duration::from_mins(10);

/// `GET /login/oidc`
pub async fn begin(State(app): State<Arc<AppState>>) -> Response {
    let Some((oidc, logins)) = provider(&app) else {
        return not_found();
    };
    let Ok(_permit) = app.lookups.try_acquire() else {
        return Problem::Busy.into_response();
    };
    let end = logins
        .now()
        .saturating_add(FLOW_LIFETIME.as_secs().cast_signed());
    match oidc.begin(end).await {
        Ok((url, flow)) => {
            let value = logins.seal().close(FLOW, &flow);
            let cookie = flow_cookie(&value, FLOW_LIFETIME, oidc.is_secure());
            with_cookie(Redirect::to(url.as_str()), &cookie)
        }
        Err(error) => refused(&error),
    }
}

/// `GET /login/oidc/callback`
pub async fn callback(
    State(app): State<Arc<AppState>>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    Query(callback): Query<Callback>,
) -> Response {
    let Some((oidc, logins)) = provider(&app) else {
        return not_found();
    };
    let Ok(_permit) = app.lookups.try_acquire() else {
        return Problem::Busy.into_response();
    };
    let user = finish(oidc, logins, &headers, &callback).await;
    let actor = Actor {
        user: user
            .as_ref()
            .ok()
            .map(|(user, _)| user.name.as_str().into()),
        ..actor
    };
    audit_login(&app, &actor, &user).await;
    match user {
        Ok((user, role)) => {
            let value = logins.log_in(role, Some(user));
            let flow = flow_cookie("", Duration::ZERO, oidc.is_secure());
            let response = with_cookie(to_dashboard(), &flow);
            with_cookie(response, &login_cookie(&value, oidc.is_secure()))
        }
        Err(error) => refused(&error),
    }
}

async fn finish(
    oidc: &OidcClient,
    logins: &Logins,
    headers: &HeaderMap,
    callback: &Callback,
) -> Result<(ProviderUser, UserRole), OidcError> {
    let flow = cookie(headers, FLOW_COOKIE);
    let flow = flow.and_then(|text| logins.seal().open::<Flow>(FLOW, &text));
    let flow = flow.filter(|flow| flow.end > logins.now());
    oidc.finish(&flow.ok_or(OidcError::NoFlow)?, callback).await
}

fn provider(app: &AppState) -> Option<(&OidcClient, &Logins)> {
    Some((app.security.oidc.as_ref()?, app.security.logins.as_ref()?))
}

fn not_found() -> Response {
    Problem::NotFound("the console was started without --oidc-issuer".to_owned()).into_response()
}

fn refused(error: &OidcError) -> Response {
    tracing::warn!(%error, "a login at the OpenID provider failed");
    Problem::LoginFailed(error.to_string()).into_response()
}

/// A page that goes on to the dashboard by itself. After a redirection, which another site has begun, the
/// browser would not send the cookie of the login.
fn to_dashboard() -> Response {
    let path = DASHBOARD.path;
    let refresh = [(header::REFRESH, format!("{REFRESH_TO}{path}"))];
    (refresh, Html(format!("<a href=\"{path}\">Dashboard</a>"))).into_response()
}

/// The cookie has to come back with a redirection of the provider, which `SameSite=Strict` would prevent.
fn flow_cookie(value: &str, lifetime: Duration, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!(
        "{FLOW_COOKIE}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}",
        lifetime.as_secs()
    )
}
