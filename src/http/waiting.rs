//! Connections that wait for their client, which give way to others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio_util::sync::CancellationToken;

/// The connections whose next step is the client's: it has not sent a request, or not all of it.
#[derive(Clone, Debug, Default)]
pub(super) struct WaitingConnections(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    last_number: u64,
    /// By how long they have waited, the longest first.
    connections: BTreeMap<u64, CancellationToken>,
}

/// A connection that is being served.
#[derive(Debug)]
pub(super) struct Place {
    waiting: WaitingConnections,
    /// Canceled once the connection has to close.
    pub(super) closed: CancellationToken,
    /// Its number while it waits.
    number: Mutex<Option<u64>>,
}

impl WaitingConnections {
    pub(super) fn enter(&self) -> Arc<Place> {
        let place = Place {
            waiting: self.clone(),
            closed: CancellationToken::new(),
            number: Mutex::new(None),
        };
        place.wait();
        Arc::new(place)
    }

    pub(super) fn close_oldest(&self) {
        if let Some((_, closed)) = self.lock().connections.pop_first() {
            closed.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The next step is the client's.
    fn wait(&self) {
        let mut waiting = self.waiting.lock();
        waiting.last_number += 1;
        let number = waiting.last_number;
        waiting.connections.insert(number, self.closed.clone());
        drop(waiting);
        *self.number() = Some(number);
    }

    /// The next step is the server's, or there is none.
    pub(super) fn leave(&self) {
        if let Some(number) = self.number().take() {
            self.waiting.lock().connections.remove(&number);
        }
    }

    fn number(&self) -> MutexGuard<'_, Option<u64>> {
        self.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the place of a connection while its request is answered. A request with a body may never
/// be complete, so its connection counts as waiting until there is a response.
pub(super) async fn mark_answering(
    State(place): State<Arc<Place>>,
    request: Request,
    next: Next,
) -> Response {
    if http_body::Body::is_end_stream(request.body()) {
        place.leave();
    }
    let response = next.run(request).await;
    place.leave();
    // Streams have no exact size, and keep their place for as long as they last.
    if http_body::Body::size_hint(response.body())
        .exact()
        .is_some()
    {
        place.wait();
    }
    response
}
