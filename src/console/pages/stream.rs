//! Updates of open pages as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::console::problem::Problem;
use crate::console::state::AppState;

/// Minimum interval between two updates; changes within it are sent together.
const COALESCE_INTERVAL: Duration = Duration::from_millis(300);
/// Maximum interval between two updates, since relative times such as `3 s ago` change without
/// a change of the state.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// Responds with a stream of the bodies that `render` produces, until the client disconnects or `render`
/// produces none.
pub fn updates(
    app: &Arc<AppState>,
    render: impl Fn(&AppState) -> Option<String> + Send + Sync + 'static,
) -> Response {
    let Ok(permit) = Arc::clone(&app.streams).try_acquire_owned() else {
        return Problem::Busy.into_response();
    };
    let updates = PageUpdates {
        app: Arc::clone(app),
        changes: app.live.changes(),
        render,
        last: String::new(),
        _permit: permit,
    };
    let events = stream::unfold(updates, async |mut updates| {
        let body = updates.next().await?;
        Some((event(&body), updates))
    });
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

struct PageUpdates<R> {
    app: Arc<AppState>,
    changes: watch::Receiver<()>,
    render: R,
    last: String,
    _permit: OwnedSemaphorePermit,
}

impl<R: Fn(&AppState) -> Option<String>> PageUpdates<R> {
    /// Waits for a body that differs from the last one; `None` once there is none, or the state no
    /// longer changes.
    async fn next(&mut self) -> Option<String> {
        loop {
            tokio::time::sleep(COALESCE_INTERVAL).await;
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = tokio::time::sleep(REFRESH_INTERVAL) => {}
            }
            let body = (self.render)(&self.app)?;
            if body != self.last {
                self.last.clone_from(&body);
                return Some(body);
            }
        }
    }
}

/// Wraps the body of a page in an event.
fn event(body: &str) -> Result<Event, Infallible> {
    // A carriage return would end a line of the event; HTML accepts a character reference.
    Ok(Event::default().data(body.replace('\r', "&#13;")))
}
