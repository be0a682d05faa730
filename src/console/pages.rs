//! The pages. Each page is a value that a template renders as HTML and serde as JSON, so that
//! the JSON API has all that the page shows.

pub mod dashboard;
pub mod dead_letters;
pub mod errors;
pub mod health;
pub mod login;
pub mod logout;
pub mod menu;
pub mod oidc;
pub mod pauses;
pub mod policies;
pub mod processes;
pub mod sessions;
pub mod sources;
pub mod stream;
pub mod terminal_events;
pub mod theme;
pub mod topics;

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{Html, IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::live::LiveState;
use super::problem::Problem;
use super::security::Caller;
use super::security::guard::{LOGIN_COOKIE, cookie, is_update};
use super::security::role::UserRole;
use super::state::AppState;
use crate::session::Timestamp;
use menu::{DASHBOARD, MENU, PageInfo};

/// The cookie with the theme of the pages.
pub const THEME_COOKIE: &str = "sundown_theme";

/// A page built from the live state, which updates itself in the browser.
pub trait Page: Template + Serialize + Send + Sized + 'static {
    /// The parameters of the query string.
    type Params: DeserializeOwned + Clone + Send + Sync + 'static;
    const INFO: PageInfo;

    /// Builds the page for the state at `now`.
    fn build(app: &AppState, state: &LiveState, now: Timestamp, params: &Self::Params) -> Self;

    /// Adds the forms for a caller with this CSRF token. Without one, the caller is not allowed
    /// to make changes, and the page has no forms.
    #[must_use]
    fn with_forms(self, _csrf: Option<&str>) -> Self {
        self
    }
}

/// The parameters of a page without any.
#[derive(Clone, Debug, Deserialize)]
pub struct NoParams {}

/// The properties of a request that affect the layout of its page.
#[derive(Clone, Debug)]
pub struct RequestContext {
    caller: Caller,
    theme: &'static str,
    path_and_query: String,
}

impl RequestContext {
    #[must_use]
    pub fn new(caller: Caller, headers: &HeaderMap, uri: &Uri) -> Self {
        let theme = match cookie(headers, THEME_COOKIE).as_deref() {
            Some("dark") => "dark",
            Some("light") => "light",
            _ => "auto",
        };
        let path_and_query = uri
            .path_and_query()
            .map_or(DASHBOARD.path, |path| path.as_str());
        Self {
            caller,
            theme,
            path_and_query: path_and_query.to_owned(),
        }
    }

    /// The CSRF token for forms that take this role; `None` if the caller has no use for them.
    #[must_use]
    pub fn csrf(&self, role: UserRole) -> Option<&str> {
        self.caller.csrf(role)
    }
}

/// Responds with the page as HTML, or as an event stream of its updates if the request accepts
/// `text/event-stream`.
pub async fn html<P: Page>(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    Query(params): Query<P::Params>,
) -> Response {
    if is_update(&headers) {
        let login = cookie(&headers, LOGIN_COOKIE);
        return stream::updates(&app, move |app: &AppState| {
            // What the login allowed to see ends with it.
            let logged_in = app.security.is_logged_in(&caller, login.as_deref());
            logged_in.then(|| app.base_path.prefix_links(body::<P>(app, &params, &caller)))
        });
    }
    let body = body::<P>(&app, &params, &caller);
    let context = RequestContext::new(caller, &headers, &uri);
    layout(&app, &context, P::INFO, &body, true)
}

/// Responds with the page as JSON.
pub async fn json<P: Page>(
    State(app): State<Arc<AppState>>,
    Query(params): Query<P::Params>,
) -> Response {
    let now = app.live.now();
    let page = P::build(&app, &app.live.state(), now, &params);
    Json(page).into_response()
}

fn body<P: Page>(app: &AppState, params: &P::Params, caller: &Caller) -> String {
    let now = app.live.now();
    let page = P::build(app, &app.live.state(), now, params);
    render(&page.with_forms(caller.csrf(UserRole::Operator)))
}

/// Responds with `body` in the layout of all pages. A `live` page updates itself.
pub fn layout(
    app: &AppState,
    context: &RequestContext,
    page: PageInfo,
    body: &str,
    live: bool,
) -> Response {
    let layout = LayoutTemplate {
        title: page.title,
        menu: MENU.map(|entry| (entry.path, entry.title, entry.path == page.path)),
        body,
        live,
        theme: context.theme,
        path_and_query: &context.path_and_query,
        caller: &context.caller,
        can_log_in: app.security.logins.is_some(),
        redacted: app.redactor.is_on(),
    };
    Html(render(&layout)).into_response()
}

/// Renders a template. Rendering fails only if displaying a value does, and no value's does.
pub fn render(template: &impl Template) -> String {
    template.render().unwrap_or_else(|error| {
        tracing::error!(%error, "cannot render a page");
        String::new()
    })
}

#[derive(Template)]
#[template(path = "console/layout.html")]
struct LayoutTemplate<'a> {
    title: &'static str,
    /// Path, title, and whether it is the current page.
    menu: [(&'static str, &'static str, bool); MENU.len()],
    body: &'a str,
    live: bool,
    theme: &'static str,
    path_and_query: &'a str,
    caller: &'a Caller,
    can_log_in: bool,
    redacted: bool,
}

/// Responds with a page that does not update itself, or with the problem that prevents it.
pub fn page_or_problem<T: Template>(
    app: &AppState,
    context: &RequestContext,
    page: PageInfo,
    content: Result<T, Problem>,
) -> Response {
    match content {
        Ok(content) => layout(app, context, page, &render(&content), false),
        Err(problem) => problem.into_response(),
    }
}

/// Responds with JSON, or with the problem that prevents it.
pub fn json_or_problem<T: Serialize>(response: Result<T, Problem>) -> Response {
    match response {
        Ok(response) => Json(response).into_response(),
        Err(problem) => problem.into_json(),
    }
}
