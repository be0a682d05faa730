//! The recipes, on their samples.

use super::*;

/// What the recipe makes of each line of its samples.
fn recipe(text: &str, samples: &str) -> Vec<Value> {
    let (_, mapping) = parsed(text).unwrap();
    let mapped = samples
        .lines()
        .map(|line| match mapping.map(&record(line.as_bytes())) {
            Ok(Mapped::Event(event)) => serde_json::from_slice(&event.value).unwrap(),
            Ok(Mapped::Skipped) => json!("skipped"),
            Err(error) => json!(error.code()),
        });
    mapped.collect()
}

macro_rules! recipe {
    ($name:literal) => {
        recipe(
            include_str!(concat!("../../../../manifests/sources/", $name, ".yaml")),
            include_str!(concat!(
                "../../../../manifests/sources/samples/",
                $name,
                ".log"
            )),
        )
    };
}

#[test]
fn nginx_access_logs() {
    let session = |time: &str| {
        json!({
            "session_id": "8f14e45fceea167a", "user_id": "ann", "activity_timestamp": time,
            "event": "activity", "attributes": {"client": "web"},
        })
    };
    let mut logout = session("2025-02-07T12:09:59.000Z");
    logout["event"] = json!("logout");
    assert_eq!(
        recipe!("nginx"),
        [
            session("2025-02-07T12:00:00.000Z"),
            json!("skipped"),
            json!("skipped"),
            logout,
            // A request that is not HTTP.
            json!("malformed"),
        ]
    );
}

#[test]
fn envoy_access_logs() {
    let session = |time: &str, event: &str| {
        json!({
            "session_id": "8f14e45fceea167a", "user_id": "ann", "activity_timestamp": time,
            "event": event,
        })
    };
    assert_eq!(
        recipe!("envoy"),
        [
            session("2025-02-07T12:00:00.123Z", "activity"),
            json!("skipped"),
            session("2025-02-07T12:09:59.500Z", "logout"),
        ]
    );
}

#[test]
fn keycloak_events() {
    let session = |time: i64, event: &str, client: Option<&str>| {
        let mut attributes = json!({
            "realm": "f1c4b2a0-9d5e-4d6b-8a55-1c6f5b1f0a11", "address": "192.0.2.10",
        });
        if let Some(client) = client {
            attributes["client"] = json!(client);
        }
        json!({
            "session_id": "0f8fad5b-d9cb-469f-a165-70867728950e",
            "user_id": "9d3c2b1a-7e6f-4d5c-8b4a-3f2e1d0c9b8a",
            "activity_timestamp": time, "event": event, "attributes": attributes,
        })
    };
    assert_eq!(
        recipe!("keycloak"),
        [
            session(1_738_929_600_000, "login", Some("web")),
            session(1_738_929_600_350, "activity", Some("web")),
            json!("skipped"),
            session(1_738_929_900_000, "activity", Some("web")),
            session(1_738_930_199_000, "logout", None),
        ]
    );
}

#[test]
fn structured_cloud_events() {
    assert_eq!(
        recipe!("cloudevents"),
        [
            json!({
                "session_id": "8f14e45fceea167a", "user_id": "ann", "event": "login",
                "activity_timestamp": "2025-02-07T12:00:00Z", "attributes": {"tenant": "acme"},
            }),
            json!("skipped"),
            json!({
                "session_id": "8f14e45fceea167a", "user_id": "ann", "event": "logout",
                "activity_timestamp": "2025-02-07T12:10:00Z",
            }),
        ]
    );
}

#[test]
fn binary_cloud_events() {
    let (_, mapping) = parsed(include_str!(
        "../../../../manifests/sources/cloudevents.yaml"
    ))
    .unwrap();
    assert!(mapping.reads_headers());
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_type", "com.example.session.login"),
        ("ce_subject", "ann"),
        ("ce_time", "2025-02-07T12:00:00Z"),
        ("content-type", "application/json; charset=utf-8"),
    ];
    let headers = headers
        .map(|(name, value)| -> RecordHeader { (name.into(), Some(value.as_bytes().to_vec())) });
    let with_headers = |value| InputRecord {
        headers: headers.to_vec(),
        ..record(value)
    };
    let mapped = event(&mapping, &with_headers(br#"{"session": "s-1"}"#));
    assert_eq!(mapped["session_id"], "s-1");
    assert_eq!(mapped["user_id"], "ann");
    let plain = mapping.map(&record(br#"{"session": "s-1"}"#)).unwrap_err();
    assert!(plain.to_string().contains("not a CloudEvent"), "{plain}");
}

#[test]
fn debezium_change_events() {
    let session = |time: i64, event: &str| {
        json!({
            "session_id": "6f1f2a30-0f5e-4d2c-9a3e-7b1c2d3e4f50", "user_id": "ann",
            "activity_timestamp": time, "event": event,
        })
    };
    assert_eq!(
        recipe!("debezium"),
        [
            session(1_738_929_600_000, "login"),
            session(1_738_929_900_000, "activity"),
            session(1_738_930_200_031, "logout"),
        ]
    );
    let (_, mapping) = parsed(include_str!("../../../../manifests/sources/debezium.yaml")).unwrap();
    let tombstone = InputRecord {
        value: None,
        ..record(b"")
    };
    assert_eq!(mapping.map(&tombstone), Ok(Mapped::Skipped));
}

#[test]
fn tomcat_and_rails_request_logs() {
    let tomcat = recipe!("tomcat");
    assert_eq!(tomcat[0]["session_id"], "4A1F2C3D5E6F708192A3B4C5D6E7F809");
    assert_eq!(tomcat[0]["activity_timestamp"], "2025-02-07T12:00:00.000Z");
    assert_eq!(tomcat[1], "skipped");
    assert_eq!(tomcat[2]["event"], "logout");
    let rails = recipe!("rails");
    assert_eq!(rails[0]["user_id"], 42);
    assert_eq!(rails[1], "skipped");
    assert_eq!(rails[2]["event"], "logout");
}
