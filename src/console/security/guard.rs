//! What every request has to get past, and what every answer says.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::{Caller, Security};
use crate::console::problem::Problem;
use crate::console::state::AppState;

/// The cookie of a browser that is logged in.
pub const COOKIE: &str = "sundown_console";

/// What browsers are told: nothing but this origin's own files, no scripts or styles within
/// pages, no frames around them.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    ),
];

/// Lets a request through if it may pass, telling the handlers who it comes from.
pub async fn guard(State(app): State<Arc<AppState>>, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let caller = caller(&app.security, headers);
    let path = request.uri().path();
    let answer = if let Err(problem) = admissible(&app.security, request.method(), headers) {
        problem.into_response()
    } else if app.security.private && caller == Caller::Anonymous && !is_public(path) {
        if path.starts_with("/api/") {
            Problem::Unauthorized.into_response()
        } else {
            Redirect::to("/login").into_response()
        }
    } else {
        request.extensions_mut().insert(caller);
        next.run(request).await
    };
    with_headers(answer)
}

/// The browser's login, if it has one.
#[must_use]
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'));
    let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(found, _)| *found == name)?;
    Some(value.to_owned())
}

fn caller(security: &Security, headers: &HeaderMap) -> Caller {
    let Some(logins) = &security.logins else {
        return Caller::Anonymous;
    };
    let bearer = headers.get(header::AUTHORIZATION);
    let bearer = bearer.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if bearer.is_some_and(|token| logins.is_token(token)) {
        return Caller::Program;
    }
    let csrf = cookie(headers, COOKIE).and_then(|cookie| logins.csrf(&cookie));
    csrf.map_or(Caller::Anonymous, |csrf| Caller::Browser { csrf })
}

/// Whether a request is for this console, and, if it changes something, from its pages.
fn admissible(security: &Security, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value.and_then(|value| value.to_str().ok())
    };
    let host = text(header::HOST).unwrap_or_default();
    if let Some(allowed) = &security.hosts
        && !allowed
            .iter()
            .any(|name| name.eq_ignore_ascii_case(without_port(host)))
    {
        return Err(Problem::ForeignHost(host.to_owned()));
    }
    if method == Method::GET || method == Method::HEAD {
        return Ok(());
    }
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let from_elsewhere = site.is_some_and(|site| site != "same-origin" && site != "none");
    let origin = text(header::ORIGIN).map(|origin| {
        let (_, authority) = origin.split_once("://").unwrap_or_default();
        authority
    });
    if from_elsewhere || origin.is_some_and(|origin| origin != host) {
        return Err(Problem::ForeignOrigin);
    }
    Ok(())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// What people need before they have logged in.
fn is_public(path: &str) -> bool {
    path == "/login" || path == "/theme" || path.starts_with("/assets/")
}

fn with_headers(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if answer.status() == StatusCode::UNAUTHORIZED {
        let headers = answer.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}
