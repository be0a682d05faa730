//! Middleware: authentication and origin checks of requests, security headers of responses.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::logins::{LOGIN_LIFETIME, TokenCheck};
use super::role::UserRole;
use super::{Caller, Security};
use crate::console::audit::Actor;
use crate::console::problem::Problem;
use crate::console::proxy::ForwardedUser;
use crate::console::state::AppState;
use crate::http::server::PeerAddr;
use crate::http::token::bearer;

/// The cookie of a login.
pub const LOGIN_COOKIE: &str = "sundown_console";

/// Restrict browsers to resources of this origin, without inline scripts and styles, and forbid
/// framing.
const SECURITY_HEADERS: [(HeaderName, &str); 7] = [
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

/// Passes allowed requests on, with the [`Caller`] and the [`Actor`] as extensions.
pub async fn guard(State(app): State<Arc<AppState>>, mut request: Request, next: Next) -> Response {
    let response = match admit(&app.security, &request) {
        Ok(caller) => {
            let actor = actor(&request, &caller);
            let renewed = renewed(&request, &caller);
            let extensions = request.extensions_mut();
            extensions.insert(caller);
            extensions.insert(actor);
            let response = next.run(request).await;
            renew(response, renewed, app.security.is_secure())
        }
        Err(Problem::Unauthorized) if !request.uri().path().starts_with("/api/") => {
            Redirect::to("/login").into_response()
        }
        Err(problem) if request.uri().path().starts_with("/api/") => problem.into_json(),
        Err(problem) => problem.into_response(),
    };
    with_security_headers(response)
}

/// Checks that a request is allowed, as far as that does not depend on what it changes.
fn admit(security: &Security, request: &Request) -> Result<Caller, Problem> {
    let headers = request.headers();
    check_origin(security, request.method(), headers)?;
    let path = request.uri().path();
    let is_public = is_public(path);
    let login_to_read = security.login_to_read && !is_public;
    // Elsewhere a token would make no difference. A proxy may send one of its own with every request.
    let needs_token = login_to_read || !is_public && !is_read(request.method());
    let caller = authenticate(security, request, needs_token)?;
    if login_to_read && caller == Caller::Anonymous {
        return Err(Problem::Unauthorized);
    }
    Ok(caller)
}

/// Whether an open page asks for its updates.
#[must_use]
pub fn is_update(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT);
    accept.is_some_and(|accept| accept.as_bytes() == b"text/event-stream")
}

/// The value of a cookie.
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

fn authenticate(
    security: &Security,
    request: &Request,
    needs_token: bool,
) -> Result<Caller, Problem> {
    let Some(logins) = &security.logins else {
        return Ok(Caller::Anonymous);
    };
    let headers = request.headers();
    let login = cookie(headers, LOGIN_COOKIE).and_then(|cookie| logins.find(&cookie));
    if let Some(login) = login {
        return Ok(Caller::Browser(login));
    }
    let Some(token) = bearer(headers).filter(|_| needs_token) else {
        return Ok(Caller::Anonymous);
    };
    let from = peer(request);
    if logins.is_blocked(from) {
        return Err(Problem::TooManyAttempts);
    }
    let named = security.api_tokens.as_ref();
    if let Some((name, role)) = named.and_then(|all| all.find(|_, one| one.matches(token))) {
        let name = Some(name);
        return Ok(Caller::Program { name, role });
    }
    match logins.check_token(from, token) {
        TokenCheck::Accepted => Ok(Caller::Program {
            name: None,
            role: UserRole::Admin,
        }),
        TokenCheck::Wrong => Ok(Caller::Anonymous),
        TokenCheck::TooMany => Err(Problem::TooManyAttempts),
    }
}

/// The new value of the login's cookie. Updates of an open page are no sign of a user.
fn renewed(request: &Request, caller: &Caller) -> Option<String> {
    match caller {
        Caller::Browser(login) if !is_update(request.headers()) => login.renewed.clone(),
        Caller::Browser(_) | Caller::Program { .. } | Caller::Anonymous => None,
    }
}

fn renew(mut response: Response, renewed: Option<String>, secure: bool) -> Response {
    let headers = response.headers_mut();
    // A logout removes the cookie.
    if let Some(value) = renewed
        && !headers.contains_key(header::SET_COOKIE)
        && let Ok(cookie) = HeaderValue::from_str(&login_cookie(&value, secure))
    {
        headers.insert(header::SET_COOKIE, cookie);
    }
    response
}

/// The cookie of a login. `secure` if browsers reach the console by TLS.
#[must_use]
pub fn login_cookie(value: &str, secure: bool) -> String {
    let max_age = LOGIN_LIFETIME.as_millis() / 1_000;
    let secure = if secure { "; Secure" } else { "" };
    format!("{LOGIN_COOKIE}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict{secure}")
}

fn actor(request: &Request, caller: &Caller) -> Actor {
    let logged_in = match caller {
        Caller::Browser(login) => login.user.as_deref().map(Arc::from),
        Caller::Program { name, .. } => name.clone(),
        Caller::Anonymous => None,
    };
    let forwarded = || {
        let user = request.extensions().get::<ForwardedUser>();
        user.map(|user| Arc::clone(&user.0))
    };
    Actor {
        by: caller.kind(),
        user: logged_in.or_else(forwarded),
        from: peer(request),
    }
}

fn peer(request: &Request) -> IpAddr {
    let peer = request.extensions().get::<PeerAddr>();
    peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.0.ip())
}

/// Checks that a request is for an allowed host and, unless it only reads, that no page of
/// another site sent it.
fn check_origin(security: &Security, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value.and_then(|value| value.to_str().ok())
    };
    let host = text(header::HOST).unwrap_or_default();
    if let Some(allowed) = &security.allowed_hosts
        && !allowed
            .iter()
            .any(|name| name.eq_ignore_ascii_case(without_port(host)))
    {
        return Err(Problem::ForeignHost(host.to_owned()));
    }
    if is_read(method) {
        return Ok(());
    }
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let cross_site = site.is_some_and(|site| site != "same-origin" && site != "none");
    let origin = text(header::ORIGIN).map(|origin| {
        let (_, authority) = origin.split_once("://").unwrap_or_default();
        authority
    });
    if cross_site || origin.is_some_and(|origin| origin != host) {
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

fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Whether a path is needed before the login.
fn is_public(path: &str) -> bool {
    path == "/login"
        || path.starts_with("/login/")
        || path == "/theme"
        || path.starts_with("/assets/")
}

fn with_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if response.status() == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
