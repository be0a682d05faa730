//! The pages. Each is a value that a template renders and that the JSON API writes: what a
//! page shows, a script gets too.

pub mod consumers;
pub mod dashboard;
pub mod dead_letters;
pub mod endings;
pub mod errors;
pub mod health;
pub mod login;
pub mod pausing;
pub mod policies;
pub mod sessions;
pub mod stream;
pub mod theme;
pub mod topics;

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::live;
use super::problem::Problem;
use super::security::Caller;
use super::security::guard::cookie;
use super::state::AppState;
use crate::session::Timestamp;

/// The pages in the order of the menu: path and title.
const MENU: [(&str, &str); 9] = [
    ("/dashboard", "Dashboard"),
    ("/consumers", "Consumers"),
    ("/health", "Health"),
    ("/sessions", "Sessions"),
    ("/policies", "Policies"),
    ("/endings", "Endings"),
    ("/topics", "Topics"),
    ("/dead-letters", "Dead letters"),
    ("/errors", "Errors"),
];

/// The cookie that keeps how the pages are to look.
pub const THEME_COOKIE: &str = "sundown_theme";

/// A page that shows what is known, and follows it.
pub trait View: Template + Serialize + Send + Sized + 'static {
    /// What stands after the question mark.
    type Query: DeserializeOwned + Clone + Send + Sync + 'static;
    /// What it is called.
    const TITLE: &'static str;
    /// Its place in the menu.
    const PATH: &'static str;

    /// The page as things are at `now`.
    fn build(app: &AppState, state: &live::State, now: Timestamp, query: &Self::Query) -> Self;

    /// The page for somebody whose forms have to carry this; none if they may change
    /// nothing.
    #[must_use]
    fn with_forms(self, _csrf: Option<&str>) -> Self {
        self
    }
}

/// What a request says about how its page is to look.
#[derive(Clone, Debug)]
pub struct RequestContext {
    caller: Caller,
    theme: &'static str,
    here: String,
}

impl RequestContext {
    /// From what every request has.
    #[must_use]
    pub fn new(caller: Caller, headers: &HeaderMap, uri: &Uri) -> Self {
        let theme = match cookie(headers, THEME_COOKIE).as_deref() {
            Some("dark") => "dark",
            Some("light") => "light",
            _ => "auto",
        };
        let here = uri
            .path_and_query()
            .map_or("/dashboard", |here| here.as_str());
        Self {
            caller,
            theme,
            here: here.to_owned(),
        }
    }

    /// What forms of this visit have to carry, if it may change something.
    #[must_use]
    pub fn csrf(&self) -> Option<&str> {
        self.caller.csrf()
    }
}

/// Answers with the page, or, asked for `text/event-stream`, with one after the other.
pub async fn page<V: View>(
    State(app): State<Arc<AppState>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    Query(query): Query<V::Query>,
) -> Response {
    let accept = headers.get(header::ACCEPT);
    if accept.is_some_and(|accept| accept.as_bytes() == b"text/event-stream") {
        return stream::answer(&app, move |app: &AppState| body::<V>(app, &query, &caller));
    }
    let body = body::<V>(&app, &query, &caller);
    let visit = RequestContext::new(caller, &headers, &uri);
    frame(&app, &visit, (V::PATH, V::TITLE), &body, true)
}

/// Answers with what the page shows, as JSON.
pub async fn api<V: View>(
    State(app): State<Arc<AppState>>,
    Query(query): Query<V::Query>,
) -> Response {
    let now = app.live.now();
    let view = V::build(&app, &app.live.state(), now, &query);
    Json(view).into_response()
}

fn body<V: View>(app: &AppState, query: &V::Query, caller: &Caller) -> String {
    let now = app.live.now();
    let view = V::build(app, &app.live.state(), now, query);
    render(&view.with_forms(caller.csrf()))
}

/// A page around `body`.
pub fn frame(
    app: &AppState,
    visit: &RequestContext,
    (path, title): (&str, &str),
    body: &str,
    follows: bool,
) -> Response {
    let frame = Frame {
        title,
        menu: MENU.map(|(to, name)| (to, name, to == path)),
        body,
        follows,
        theme: visit.theme,
        here: &visit.here,
        caller: &visit.caller,
        can_log_in: app.security.logins.is_some(),
        redacted: app.redactor.is_on(),
    };
    Html(render(&frame)).into_response()
}

/// A template's text. Templates fail only where a value's own rendering does, and none does.
pub fn render(template: &impl Template) -> String {
    template.render().unwrap_or_else(|error| {
        tracing::error!(%error, "a page cannot be rendered");
        String::new()
    })
}

#[derive(Template)]
#[template(path = "console/frame.html")]
struct Frame<'a> {
    title: &'a str,
    menu: [(&'static str, &'static str, bool); MENU.len()],
    body: &'a str,
    follows: bool,
    theme: &'static str,
    here: &'a str,
    caller: &'a Caller,
    can_log_in: bool,
    redacted: bool,
}

/// A page that is there for one question; `problem` where it has no answer.
pub fn answer<T: Template>(
    app: &AppState,
    visit: &RequestContext,
    place: (&str, &str),
    view: Result<T, Problem>,
) -> Response {
    match view {
        Ok(view) => frame(app, visit, place, &render(&view), false),
        Err(problem) => problem.into_response(),
    }
}
