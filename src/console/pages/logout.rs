//! Logouts: of a browser, and of a user at the OpenID provider (OpenID Connect Back-Channel Logout 1.0).
//!
//! They are in the audit topic, which every console reads, so that a logout at one of them counts at all.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tokio::sync::mpsc::Receiver;

use super::login::with_cookie;
use super::menu::DASHBOARD;
use crate::console::audit::{Actor, Deed};
use crate::console::live::tail::TailRecord;
use crate::console::problem::Problem;
use crate::console::security::Caller;
use crate::console::security::guard::{LOGIN_COOKIE, cookie};
use crate::console::security::logins::Logout;
use crate::console::state::AppState;

/// The action of audit records of logouts.
const ACTION: &str = "logout";

/// The body of `POST /logout`.
#[derive(Debug, Deserialize)]
pub struct LogoutForm {
    #[serde(default)]
    csrf: String,
}

/// The body of a provider's request.
#[derive(Debug, Deserialize)]
pub struct BackChannelForm {
    logout_token: String,
}

/// What is read of a record in the audit topic.
#[derive(Debug, Deserialize)]
struct LogoutRecord {
    action: String,
    subject: String,
}

/// `POST /logout`
pub async fn html(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    Form(form): Form<LogoutForm>,
) -> Response {
    if !caller.is_authorized(&form.csrf) {
        return Problem::StaleForm.into_response();
    }
    let logins = app.security.logins.as_ref();
    let login = logins.zip(cookie(&headers, LOGIN_COOKIE));
    if let Some(login) = login.and_then(|(logins, cookie)| logins.find(&cookie)) {
        end(&app, &actor, login.logout).await;
    }
    let cookie = format!("{LOGIN_COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    with_cookie(Redirect::to(DASHBOARD.path), &cookie)
}

/// `POST /login/oidc/backchannel-logout`
pub async fn back_channel(
    State(app): State<Arc<AppState>>,
    Extension(actor): Extension<Actor>,
    Form(form): Form<BackChannelForm>,
) -> Response {
    let Some(oidc) = &app.security.oidc else {
        let text = "the console was started without --oidc-issuer".to_owned();
        return Problem::NotFound(text).into_json();
    };
    let Ok(_permit) = app.lookups.try_acquire() else {
        return Problem::Busy.into_json();
    };
    match oidc.verify_logout(&form.logout_token).await {
        Ok(logout) => {
            let actor = Actor {
                by: "provider",
                ..actor
            };
            end(&app, &actor, logout).await;
            StatusCode::OK.into_response()
        }
        Err(error) => {
            tracing::warn!(%error, "a logout of the OpenID provider was refused");
            Problem::Invalid(error.to_string()).into_json()
        }
    }
}

/// Applies the logouts in records of the audit topic, and returns at their end.
pub async fn apply(app: Arc<AppState>, mut records: Receiver<TailRecord>) {
    while let Some(record) = records.recv().await {
        let Some(logins) = &app.security.logins else {
            return;
        };
        let value = record.value.as_deref().unwrap_or_default();
        // Other records, and those of other writers, are no logouts.
        let Ok(LogoutRecord { action, subject }) = serde_json::from_slice(value) else {
            continue;
        };
        if action == ACTION
            && let Ok(logout) = serde_json::from_str(&subject)
        {
            logins.log_out(logout, record.timestamp.as_millis() / 1_000);
        }
    }
}

/// Ends logins here at once, and at other consoles by the record.
async fn end(app: &AppState, actor: &Actor, logout: Logout) {
    let subject = serde_json::to_string(&logout).unwrap_or_default();
    if let Some(logins) = &app.security.logins {
        logins.log_out(logout, logins.now());
    }
    let deed = Deed {
        action: ACTION,
        subject: &subject,
        note: None,
    };
    let done: Result<(), Infallible> = Ok(());
    app.audit.change(actor, deed, &done).await;
}
