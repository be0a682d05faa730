//! Beacons of pages in a real browser.

use std::collections::BTreeSet;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::port::{PUBLIC, Port};
use crate::console::browser::chromium::Chromium;
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;

const REQUESTS: &str = "sundown_ingest_http_requests_total";

/// A website with an empty page.
struct Website {
    origin: String,
    _runtime: Runtime,
}

impl Website {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let page = get(|| async { Html("<!doctype html><title>Shop</title>") });
        let router = Router::new().route("/", page);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            origin,
            _runtime: runtime,
        }
    }
}

/// The script that sends the activity of a session.
fn beacon(url: &str, session: &str, content_type: Option<&str>) -> String {
    let event = json!({"session_id": session, "user_id": "ann"}).to_string();
    let (url, event) = (json!(url), json!(event));
    match content_type {
        None => format!("navigator.sendBeacon({url}, {event})"),
        Some(kind) => {
            format!("navigator.sendBeacon({url}, new Blob([{event}], {{type: '{kind}'}}))")
        }
    }
}

#[test]
fn only_beacons_of_pages_of_allowed_origins_are_written() {
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let installation = Installation::new(Kafka::shared(), SHORT);
    let (shop, elsewhere) = (Website::start(), Website::start());
    let port = Port::start(&installation, &shop.origin, &[]);
    let url = port.client.url(&format!("/v1/events?token={PUBLIC}"));
    let answered = |status: u16, count: u64| {
        let status = status.to_string();
        port.ingest.await_metric(REQUESTS, &status, count);
    };
    chromium.call("Network.enable", &json!({}));

    // A text is sent, and refused; for JSON, the browser asks first.
    chromium.open(&elsewhere.origin);
    chromium.eval(&beacon(&url, "text-elsewhere", None));
    answered(403, 1);
    chromium.eval(&beacon(&url, "json-elsewhere", Some("application/json")));
    chromium.await_event("Network.loadingFailed");

    chromium.open(&shop.origin);
    for (session, content_type) in [
        ("text", None),
        ("plain", Some("text/plain")),
        ("json", Some("application/json")),
        ("lines", Some("application/x-ndjson")),
    ] {
        assert_eq!(chromium.eval(&beacon(&url, session, content_type)), true);
    }
    answered(202, 4);
    let leaving = beacon(&url, "leaving", Some("application/json"));
    chromium.eval(&format!("addEventListener('pagehide', () => {leaving})"));
    chromium.open(&elsewhere.origin);
    answered(202, 5);

    let records = installation.read("session_logs");
    let sessions = records.iter().map(|record| {
        let event = record.json();
        assert_eq!(event["user_id"], "ann");
        event["session_id"].as_str().expect("an id").to_owned()
    });
    let sessions: BTreeSet<_> = sessions.collect();
    let expected = ["text", "plain", "json", "lines", "leaving"].map(str::to_owned);
    assert_eq!(sessions, BTreeSet::from(expected));
    assert_eq!(port.ingest.metric(REQUESTS, "403"), 1);
    port.ingest.stop();
}
