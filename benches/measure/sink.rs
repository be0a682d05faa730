//! A webhook receiver that answers at once and counts.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Listens until it is dropped.
pub struct Sink {
    pub address: SocketAddr,
    counts: Arc<Counts>,
    _runtime: Runtime,
}

#[derive(Default)]
struct Counts {
    calls: AtomicU64,
    keys: Mutex<HashSet<Uuid>>,
}

impl Sink {
    pub fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let receive = move |headers: HeaderMap| {
            counted.add(&headers);
            std::future::ready(StatusCode::NO_CONTENT)
        };
        let router = Router::new().route("/hook", post(receive));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            counts,
            _runtime: runtime,
        }
    }

    pub fn calls(&self) -> u64 {
        self.counts.calls.load(Ordering::Relaxed)
    }

    /// The number of calls, each `Idempotency-Key` once.
    pub fn distinct(&self) -> u64 {
        self.counts.keys.lock().unwrap().len().try_into().unwrap()
    }

    pub fn clear(&self) {
        self.counts.keys.lock().unwrap().clear();
        self.counts.calls.store(0, Ordering::Relaxed);
    }
}

impl Counts {
    fn add(&self, headers: &HeaderMap) {
        let key = headers["idempotency-key"].to_str().unwrap();
        self.keys.lock().unwrap().insert(key.parse().unwrap());
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}
