//! Looks at personal data: pages that show sessions, endings, dead letters and records.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Uri;
use axum::middleware::Next;
use axum::response::Response;

use super::audit::Actor;
use super::pages::menu::SESSIONS;
use super::redact::Redactor;
use super::state::AppState;

/// Records that personal data was shown.
pub async fn record_looks(
    State(app): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Response {
    let actor = request.extensions().get::<Actor>().cloned();
    let subject = shown(request.uri(), &app.redactor);
    let response = next.run(request).await;
    if let (Some(actor), Some(subject), true) = (actor, subject, response.status().is_success()) {
        app.audit.look(actor, &subject);
    }
    response
}

/// The path and the parameters of a page; `None` if it shows nothing without parameters.
fn shown(uri: &Uri, redactor: &Redactor) -> Option<String> {
    let path = uri.path();
    let Some(query) = uri.query() else {
        return (path != SESSIONS.path).then(|| path.to_owned());
    };
    let pairs = form_urlencoded::parse(query.as_bytes());
    let pairs = pairs.map(|(name, value)| format!("{name}={}", redactor.id(&value)));
    Some(format!("{path}?{}", pairs.collect::<Vec<_>>().join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_names_what_was_looked_up() {
        let shown = |uri: &str, redact| shown(&uri.parse().unwrap(), &Redactor::new(redact));
        assert_eq!(shown("/sessions", false), None);
        assert_eq!(
            shown("/sessions?user=ann%40example.org&string=true", false).as_deref(),
            Some("/sessions?user=ann@example.org&string=true")
        );
        assert_eq!(
            shown("/terminal-events", false).as_deref(),
            Some("/terminal-events")
        );
        let redacted = shown("/sessions?user=ann", true).unwrap();
        assert!(!redacted.contains("ann"), "{redacted}");
    }
}
