//! A webhook receiver that records every call and responds as configured.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::support::wait::eventually;

/// A call as it came in.
#[derive(Clone, Debug)]
pub struct Call {
    /// The value of `Idempotency-Key`.
    pub key: String,
    /// How many calls with this key there have been, this one included.
    pub attempt: usize,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The response to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    Status(u16),
    /// Success, but only after this long.
    After(Duration),
    /// Take the call and never respond.
    Silence,
}

/// Listens until it is dropped.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    respond: Box<dyn Fn(&Call) -> Response + Send + Sync>,
    calls: Mutex<Vec<(Call, Response)>>,
    /// By key.
    attempts: Mutex<HashMap<String, usize>>,
}

impl Receiver {
    pub fn start(respond: impl Fn(&Call) -> Response + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), respond)
    }

    pub fn start_at(
        address: SocketAddr,
        respond: impl Fn(&Call) -> Response + Send + Sync + 'static,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            respond: Box::new(respond),
            calls: Mutex::default(),
            attempts: Mutex::default(),
        });
        let router = Router::new().route("/hook", post(receive));
        let router = router.with_state(Arc::clone(&shared));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            shared,
            _runtime: runtime,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// All calls so far, in the order in which they came.
    pub fn calls(&self) -> Vec<Call> {
        let calls = self.shared.calls.lock().unwrap();
        calls.iter().map(|(call, _)| call.clone()).collect()
    }

    /// How many calls there have been.
    pub fn count(&self) -> usize {
        self.shared.calls.lock().unwrap().len()
    }

    /// How often each key was answered with success, or will be.
    pub fn accepted(&self) -> BTreeMap<String, usize> {
        let mut accepted = BTreeMap::new();
        for (call, response) in self.shared.calls.lock().unwrap().iter() {
            if matches!(response, Response::Status(200..=299) | Response::After(_)) {
                *accepted.entry(call.key.clone()).or_default() += 1;
            }
        }
        accepted
    }

    /// Waits until there have been `count` calls, and returns them.
    pub fn wait_for(&self, timeout: Duration, count: usize) -> Vec<Call> {
        eventually(timeout, &format!("{count} webhook calls"), || {
            Some(self.calls()).filter(|calls| calls.len() >= count)
        })
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let key = headers
        .get("idempotency-key")
        .map(|value| value.to_str().unwrap().to_owned());
    let key = key.unwrap_or_default();
    let response = {
        let mut attempts = shared.attempts.lock().unwrap();
        let attempt = attempts.entry(key.clone()).or_default();
        *attempt += 1;
        let attempt = *attempt;
        let mut calls = shared.calls.lock().unwrap();
        let call = Call {
            key,
            attempt,
            headers,
            body,
        };
        let response = (shared.respond)(&call);
        calls.push((call, response));
        response
    };
    match response {
        Response::Status(status) => StatusCode::from_u16(status).unwrap(),
        Response::After(pause) => {
            tokio::time::sleep(pause).await;
            StatusCode::OK
        }
        Response::Silence => std::future::pending().await,
    }
}
