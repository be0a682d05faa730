//! `POST /v1/events` on a real Kafka.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::port::{PUBLIC, Port, SECRET};
use crate::console::client::HttpResponse;
use crate::support::installation::{Installation, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::process::Stream;
use crate::support::wait::eventually;

const SHOP: &str = "https://shop.example";

fn event(session: &str) -> Value {
    json!({"session_id": session, "user_id": "ann"})
}

fn sessions(installation: &Installation<'_>) -> BTreeSet<String> {
    let records = installation.read("session_logs");
    let sessions = records.iter().map(|record| {
        let session = record.json()["session_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        assert_eq!(record.key.as_deref(), Some(session.as_bytes()));
        session
    });
    sessions.collect()
}

/// The statuses and content types of the description, each of which has to be seen.
fn described(port: &Port) -> (BTreeSet<String>, BTreeSet<String>) {
    let document = port.client.json("/v1/openapi.json");
    let paths = document["paths"].as_object().expect("an object");
    // Shared Signals are not received without transmitters.
    assert!(paths.keys().eq(["/v1/events"]), "{paths:?}");
    let post = &paths["/v1/events"]["post"];
    let keys = |object: &Value| {
        object
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    (
        keys(&post["responses"]),
        keys(&post["requestBody"]["content"]),
    )
}

#[test]
fn every_described_body_is_written() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let port = Port::start(&installation, SHOP, &[]);
    let (_, mut types) = described(&port);
    let cloud = |session: &str| {
        json!({"specversion": "1.0", "id": "1", "source": "shop", "type": "activity",
               "time": "2026-01-02T03:04:05Z", "data": event(session)})
    };
    let lines = |names: [&str; 2]| format!("{}\n{}\r\n\n", event(names[0]), event(names[1]));
    for (content_type, body, count) in [
        ("application/json", event("a").to_string(), 1),
        (
            "application/json; charset=utf-8",
            json!([event("b"), event("c")]).to_string(),
            2,
        ),
        ("application/x-ndjson", lines(["d", "e"]), 2),
        ("text/plain;charset=UTF-8", lines(["f", "g"]), 2),
        ("text/plain", json!([event("h")]).to_string(), 1),
        ("application/cloudevents+json", cloud("i").to_string(), 1),
        (
            "application/cloudevents-batch+json",
            json!([cloud("j")]).to_string(),
            1,
        ),
    ] {
        let answer = port.post(content_type, &body);
        assert_eq!(answer.status, 202, "{}", answer.body);
        assert_eq!(answer.body, json!({"accepted": count}).to_string());
        types.remove(content_type.split(';').next().expect("a type"));
    }
    assert!(types.is_empty(), "described only: {types:?}");
    // An acknowledged event can be read at once.
    let written: Vec<_> = sessions(&installation).into_iter().collect();
    assert_eq!(written.concat(), "abcdefghij");
    let events = installation.read("session_logs");
    let of_cloud = events
        .iter()
        .find(|event| event.json()["session_id"] == "i");
    assert_eq!(
        of_cloud.expect("it").json()["activity_timestamp"],
        "2026-01-02T03:04:05Z"
    );
    port.ingest
        .await_metric("sundown_ingest_http_events_total", "app", 10);
    port.ingest.stop();
}

#[test]
fn every_described_answer_is_real() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let limits = ["--http-max-body", "2000", "--http-rate-limit", "20"];
    let port = Port::start(&installation, SHOP, &limits);
    let (mut statuses, _) = described(&port);
    // A stopped broker is another test.
    let mut seen = BTreeSet::from(["202".to_owned(), "503".to_owned()]);
    let mut refused = |answer: HttpResponse, status: u16, words: &str| {
        assert_eq!(answer.status, status, "{}", answer.body);
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("application/problem+json"));
        assert!(answer.body.contains(words), "{}", answer.body);
        assert_eq!(answer.header("retry-after").is_some(), status == 429);
        seen.insert(status.to_string());
    };
    let invalid = json!([event("x"), {"session_id": "y"}]).to_string();
    refused(port.post("application/json", &invalid), 400, "event 2: ");
    refused(port.post("application/json", "{"), 400, "not JSON");
    refused(port.post("application/json", "[]"), 400, "no event");
    let cloud = json!({"specversion": "1.0", "time": "yesterday", "data": event("x")});
    let cloud = port.post("application/cloudevents+json", &cloud.to_string());
    refused(cloud, 400, "RFC 3339");
    refused(port.post("application/xml", "<a/>"), 415, "application/xml");
    let large = port.post("application/json", &" ".repeat(2_001));
    refused(large, 413, "--http-max-body");
    let anonymous = port.client.send("POST", "/v1/events", &[], "{}");
    refused(anonymous, 401, "Authorization: Bearer");
    let in_query = format!("/v1/events?token={SECRET}");
    let in_query = port.client.send("POST", &in_query, &[], "{}");
    refused(in_query, 401, "Authorization");
    let elsewhere = [("origin", "https://elsewhere.example")];
    let elsewhere = port.client.send("POST", "/v1/events", &elsewhere, "{}");
    refused(elsewhere, 403, "may not send events");
    let many: Vec<_> = (0..30).map(|number| event(&number.to_string())).collect();
    let many = port.post("application/json", &json!(many).to_string());
    assert_eq!(many.status, 202, "{}", many.body);
    let more = port.post("application/json", &event("z").to_string());
    refused(more, 429, "--http-rate-limit");
    // Nothing of the refused requests is written.
    assert_eq!(sessions(&installation).len(), 30);
    statuses.retain(|status| !seen.contains(status));
    assert!(statuses.is_empty(), "described only: {statuses:?}");
    port.ingest.stop();
}

#[test]
fn a_beacon_of_a_page_writes_activity() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let port = Port::start(&installation, SHOP, &[]);
    let path = format!("/v1/events?token={PUBLIC}");
    let beacon = |origin: &str, body: &Value| {
        let headers = [
            ("origin", origin),
            ("content-type", "text/plain;charset=UTF-8"),
        ];
        port.client.send("POST", &path, &headers, &body.to_string())
    };
    let answer = beacon(SHOP, &event("s"));
    assert_eq!(answer.status, 202, "{}", answer.body);
    assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
    assert_eq!(beacon("https://elsewhere.example", &event("t")).status, 403);
    let logout = json!({"session_id": "s", "user_id": "ann", "event": "logout"});
    assert_eq!(beacon(SHOP, &logout).status, 403);
    assert_eq!(
        port.client
            .send("POST", &path, &[], &event("u").to_string())
            .status,
        403
    );
    // A beacon of JSON asks first.
    let ask = [("origin", SHOP), ("access-control-request-method", "POST")];
    let answer = port.client.send("OPTIONS", "/v1/events", &ask, "");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        Some("true")
    );
    let ask = [("origin", "https://elsewhere.example")];
    assert_eq!(
        port.client.send("OPTIONS", "/v1/events", &ask, "").status,
        403
    );
    assert_eq!(sessions(&installation), BTreeSet::from(["s".to_owned()]));
    port.ingest.stop();
}

#[test]
fn a_request_that_kafka_does_not_acknowledge_is_to_come_again() {
    let kafka = Kafka::own(1);
    let installation = Installation::new(&kafka, SHORT);
    let port = Port::start(&installation, SHOP, &["-X", "message.timeout.ms=3000"]);
    assert_eq!(
        port.post("application/json", &event("a").to_string())
            .status,
        202
    );
    kafka.kill(1);
    let answer = port.post("application/json", &event("b").to_string());
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(answer.header("retry-after"), Some("5"));
    kafka.start(1);
    eventually(SOON, "an acknowledged event", || {
        let answer = port.post("application/json", &event("b").to_string());
        (answer.status == 202).then_some(())
    });
    assert!(sessions(&installation).contains("b"));
    port.ingest.stop();
}

#[test]
fn a_check_sends_its_session_through_the_port() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let port = Port::start(&installation, SHOP, &[]);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let url = port.client.url("");
    let check = |token: &str, timeout: &str| {
        let token = port.tokens.path().join(token);
        let token = token.to_str().expect("UTF-8");
        let args = [
            "check",
            "--timeout",
            timeout,
            "--http",
            &url,
            "--http-token",
            token,
        ];
        let mut check = installation.sundown(&args).start();
        let succeeded = check.wait(SOON).success();
        (
            succeeded,
            check.text(Stream::Stdout) + &check.text(Stream::Stderr),
        )
    };
    // A folder, and a file.
    for token in ["apps", "apps/app"] {
        let (succeeded, output) = check(token, "60s");
        assert!(
            succeeded && output.contains(": logout under policy"),
            "{output}"
        );
    }
    port.ingest
        .await_metric("sundown_ingest_http_events_total", "app", 4);
    // The token of a page must not end sessions.
    let (succeeded, output) = check("pages", "2s");
    assert!(!succeeded && output.contains("it answered 403"), "{output}");
    tracker.stop();
    port.ingest.stop();
}
