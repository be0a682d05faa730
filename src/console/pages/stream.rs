//! Pages that update themselves: the same parts again, whenever they have changed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::console::problem::Problem;
use crate::console::state::AppState;

/// The least time between two bodies: changes within it go out together.
const COALESCE: Duration = Duration::from_millis(300);
/// How often a page is sent though nothing has changed: `3 s ago` grows old by itself.
const REFRESH: Duration = Duration::from_secs(5);

/// A stream of what `render` makes of the state, for as long as somebody reads it.
pub fn answer(
    app: &Arc<AppState>,
    render: impl Fn(&AppState) -> String + Send + Sync + 'static,
) -> Response {
    let Ok(place) = Arc::clone(&app.streams).try_acquire_owned() else {
        return Problem::Busy.into_response();
    };
    let reader = Reader {
        app: Arc::clone(app),
        changes: app.live.changes(),
        render,
        last: String::new(),
        _place: place,
    };
    let bodies = stream::unfold(reader, async |mut reader| {
        let body = reader.next().await?;
        Some((event(&body), reader))
    });
    Sse::new(bodies)
        .keep_alive(KeepAlive::default())
        .into_response()
}

struct Reader<R> {
    app: Arc<AppState>,
    changes: watch::Receiver<()>,
    render: R,
    last: String,
    _place: OwnedSemaphorePermit,
}

impl<R: Fn(&AppState) -> String> Reader<R> {
    /// The next body that differs from the last; none if there will be no changes.
    async fn next(&mut self) -> Option<String> {
        loop {
            // A change after a quiet time goes out at once, one amid others waits for them.
            tokio::time::sleep(COALESCE).await;
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = tokio::time::sleep(REFRESH) => {}
            }
            let body = (self.render)(&self.app);
            if body != self.last {
                self.last.clone_from(&body);
                return Some(body);
            }
        }
    }
}

/// The parts of a page as an event.
pub(super) fn event(body: &str) -> Result<Event, Infallible> {
    // Carriage returns would end a line of the event; within HTML they may be written so.
    Ok(Event::default().data(body.replace('\r', "&#13;")))
}
