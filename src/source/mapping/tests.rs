use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::session::Timestamp;
use crate::source::yaml::{ParsedSource, parse};
use crate::wire::record::RecordHeader;

/// A record of 2025-02-07T12:00:00Z.
fn record(value: &[u8]) -> InputRecord<'_> {
    InputRecord {
        topic: "clicks",
        partition: 7,
        timestamp: Some(Timestamp::from_millis(1_738_929_600_000)),
        key: Some(b"k"),
        value: Some(value),
        headers: Vec::new(),
    }
}

fn parsed(text: &str) -> Result<ParsedSource, String> {
    let mut all = parse(text, &mut BTreeSet::new());
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0).map_err(|error| error.to_string())
}

/// A source with this spec, in YAML flow style.
fn source(spec: &str) -> Result<Mapping, String> {
    let text = format!(
        "apiVersion: sundown.dev/v1alpha1\nkind: SessionSource\nmetadata: {{name: web}}\nspec: {{topics: [clicks], {spec}}}\n"
    );
    parsed(&text).map(|(_, mapping)| mapping)
}

fn event(mapping: &Mapping, record: &InputRecord<'_>) -> Value {
    match mapping.map(record) {
        Ok(Mapped::Event(event)) => serde_json::from_slice(&event.value).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn error(mapping: &Mapping, value: &Value) -> (&'static str, String) {
    let value = value.to_string();
    let error = mapping.map(&record(value.as_bytes())).unwrap_err();
    (error.code(), error.to_string())
}

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
            include_str!(concat!("../../../manifests/sources/", $name, ".yaml")),
            include_str!(concat!(
                "../../../manifests/sources/samples/",
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
    let (_, mapping) = parsed(include_str!("../../../manifests/sources/cloudevents.yaml")).unwrap();
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
    let (_, mapping) = parsed(include_str!("../../../manifests/sources/debezium.yaml")).unwrap();
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

#[test]
fn all_variables_can_be_read() {
    let mapping = source(
        "session: {id: key, user: \"headers['user']\", attributes: {topic: topic, partition: partition, at: timestamp}}",
    )
    .unwrap();
    let headers: Vec<RecordHeader> = vec![("user".into(), Some(b"ann".to_vec()))];
    let mapped = event(
        &mapping,
        &InputRecord {
            headers,
            ..record(b"{}")
        },
    );
    assert_eq!(
        mapped,
        json!({
            "session_id": "k", "user_id": "ann", "activity_timestamp": "2025-02-07T12:00:00.000Z",
            "attributes": {"topic": "clicks", "partition": "7", "at": "1738929600000"},
        })
    );
}

#[test]
fn results_are_converted_and_checked() {
    let mapping = source(
        "session: {id: value.id, user: value.user, time: value.time, event: value.?event, attributes: {a: value.a}}",
    )
    .unwrap();
    let map = |value: Value| event(&mapping, &record(value.to_string().as_bytes()));
    let mapped = map(json!({"id": 4711, "user": 7, "time": null, "a": {"b": 1}}));
    assert_eq!(
        mapped,
        json!({"session_id": "4711", "user_id": 7, "activity_timestamp": "2025-02-07T12:00:00.000Z"})
    );
    for (attribute, text) in [(json!(2), "2"), (json!(true), "true"), (json!(1.5), "1.5")] {
        let mapped = map(json!({"id": "s", "user": "u", "time": null, "a": attribute}));
        assert_eq!(mapped["attributes"]["a"], text);
    }
    for (value, code, words) in [
        (
            json!({"user": "u", "time": 1}),
            "mapping",
            "spec.session.id `value.id` failed: the record has no field id",
        ),
        (
            json!({"id": [], "user": "u", "time": 1}),
            "mapping",
            "`value.id` returned list, not a string or a whole number",
        ),
        (
            json!({"id": "s", "user": 1.5, "time": 1}),
            "mapping",
            "spec.session.user `value.user` returned double",
        ),
        (
            json!({"id": "s", "user": "u", "time": true}),
            "mapping",
            "spec.session.time",
        ),
        (
            json!({"id": "s", "user": "u", "time": "soon"}),
            "invalid_field",
            "activity_timestamp",
        ),
        (
            json!({"id": "s", "user": "u", "time": null, "event": "click"}),
            "invalid_field",
            "event",
        ),
        (
            json!({"id": "", "user": "u", "time": null}),
            "invalid_field",
            "session_id is empty",
        ),
        (json!(7), "mapping", "spec.session.id"),
    ] {
        let (found, message) = error(&mapping, &value);
        assert_eq!(found, code, "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_logout_without_a_session_goes_to_every_partition() {
    let mapping =
        source("session: {id: 'value.?id', user: value.user, event: \"'logout'\"}").unwrap();
    let Ok(Mapped::Event(one)) = mapping.map(&record(br#"{"id": "s", "user": "u"}"#)) else {
        panic!("no event");
    };
    assert_eq!(one.target, Target::Key("s".to_owned()));
    let Ok(Mapped::Event(all)) = mapping.map(&record(br#"{"user": "u"}"#)) else {
        panic!("no event");
    };
    assert_eq!(all.target, Target::EveryPartition("u".to_owned()));
}

#[test]
fn values_that_are_not_of_the_format_are_explained() {
    let mapping = source("session: {id: value.id, user: value.user}").unwrap();
    for (value, words) in [
        (&b"plain"[..], "not JSON"),
        (b"\0\0\0\0\x07{}", "Confluent's wire format"),
        (b"\xac\xed\0\x05t\0\x01a", "serialized Java object"),
        (b"\x1f\x8b\x08", "invalid gzip"),
        (b"{} {}", "not JSON"),
    ] {
        let error = mapping.map(&record(value)).unwrap_err();
        assert_eq!(error.code(), "malformed");
        assert!(error.to_string().contains(words), "{error}");
    }
    let connect = source("envelope: connect, session: {id: value.id, user: value.user}").unwrap();
    let mapped = event(
        &connect,
        &record(br#"{"schema": {}, "payload": {"id": "s", "user": "u"}}"#),
    );
    assert_eq!(mapped["session_id"], "s");
    let error = connect.map(&record(br#"{"id": "s"}"#)).unwrap_err();
    assert!(error.to_string().contains("no payload"), "{error}");
}

#[test]
fn mistakes_in_a_source_are_found_when_it_is_loaded() {
    for (spec, words) in [
        (
            "session: {id: 'vlaue.id'}",
            "spec.session.id: line 1, column 1 of `vlaue.id`: unknown variable vlaue; did you mean value?",
        ),
        (
            "session: {id: 'value.id +'}",
            "spec.session.id: line 1, column",
        ),
        (
            "session: {id: 'value.id.uper()'}",
            "unknown function uper()",
        ),
        (
            "session: {id: \"value.id.replace('a', 'b')\"}",
            "unknown function replace()",
        ),
        (
            "session: {id: 'value.id', attributes: {x: 'user'}}",
            "spec.session.attributes.x: line 1, column 1",
        ),
        (
            "session: {id: 'value.a.filter(x, value.b.exists(y, y == x))[0]'}",
            "inside another",
        ),
        (
            "session: {id: 'value.id'}, when: 'value.id.matches(value.p)'",
            "literal",
        ),
        (
            "session: {id: 'value.id'}, when: \"value.id.matches('(')\"",
            "spec.when",
        ),
        ("session: {id: 'Message{a: 1}'}", "unknown type Message"),
        ("session: {attributes: {}}", "neither id nor user"),
        (
            "session: {id: key}, format: text",
            "spec.pattern: is missing",
        ),
        (
            "session: {id: key}, format: text, pattern: '('",
            "spec.pattern",
        ),
        (
            "session: {id: key}, format: text, pattern: 'a'",
            "no named groups",
        ),
        ("session: {id: key}, pattern: '(?<a>a)'", "format text only"),
        (
            "session: {id: value.sesion}, format: text, pattern: '(?<session>a)'",
            "value has no field sesion; did you mean session?",
        ),
        (
            "session: {id: key}, envelope: connect, format: cloudevents",
            "spec.envelope",
        ),
        ("session: {id: key}, topic: clicks", "unknown field `topic`"),
    ] {
        let error = source(spec)
            .map(|mapping| format!("{mapping:?}"))
            .unwrap_err();
        assert!(error.contains(words), "{spec}: {error}");
    }
}

#[test]
fn documents_are_checked() {
    let document = |name: &str| {
        format!(
            "---\napiVersion: sundown.dev/v1alpha1\nkind: SessionSource\nmetadata: {{name: {name}}}\nspec: {{topics: [t], session: {{id: key}}}}\n"
        )
    };
    let texts = [
        document("a"),
        document("a"),
        document("Not_a_name"),
        document("["),
    ];
    let results = parse(&texts.concat(), &mut BTreeSet::new());
    let errors: Vec<_> = results[1..]
        .iter()
        .map(|result| result.as_ref().unwrap_err().to_string())
        .collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    for (error, words) in
        errors
            .iter()
            .zip(["two sources named 'a'", "metadata.name", "document 4"])
    {
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_record_of_very_many_values_is_refused() {
    let mapping = source("session: {id: value.id, user: value.user}").unwrap();
    let long: Vec<_> = (0..20_001).collect();
    let kept = json!({"id": long, "user": "u"});
    assert!(error(&mapping, &kept).1.contains("more than 20000 values"));
    let skipped = json!({"id": "s", "user": "u", "other": long});
    assert_eq!(
        event(&mapping, &record(skipped.to_string().as_bytes()))["session_id"],
        "s"
    );
}

/// Sources of every format, with expressions of every kind.
fn sources() -> Vec<Mapping> {
    [
        include_str!("../../../manifests/sources/nginx.yaml"),
        include_str!("../../../manifests/sources/envoy.yaml"),
        include_str!("../../../manifests/sources/keycloak.yaml"),
        include_str!("../../../manifests/sources/cloudevents.yaml"),
        include_str!("../../../manifests/sources/debezium.yaml"),
        include_str!("../../../manifests/sources/rails.yaml"),
    ]
    .map(|text| parsed(text).unwrap().1)
    .into()
}

/// JSON of which some could be events.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("LOGIN")),
        Just(json!("sid=1; sid=2")),
    ];
    let name = prop_oneof![
        any::<String>(),
        "type|sessionId|userId|time|cookie|user|response_code|op|before|after|payload|data|subject|specversion"
    ];
    let value = leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::hash_map(name.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    value.prop_map(|value| value.to_string())
}

proptest! {
    #[test]
    fn no_bytes_panic(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            any_json().prop_map(String::into_bytes),
        ],
        name in any::<String>(),
    ) {
        thread_local! {
            static SOURCES: Vec<Mapping> = sources();
        }
        let headers: Vec<RecordHeader> = vec![
            ("ce_specversion".into(), None),
            ("content-type".into(), Some(bytes.clone())),
            (name, Some(bytes.clone())),
        ];
        SOURCES.with(|sources| for mapping in sources {
            for headers in [Vec::new(), headers.clone()] {
                let record = InputRecord { headers, key: Some(&bytes), ..record(&bytes) };
                let _outcome = mapping.map(&record);
            }
        });
    }

    #[test]
    fn no_expression_panics(text in "[a-z.\\[\\](){}'\"?:+*/%<>=!&|0-9 ,\\\\-]{0,40}") {
        if let Ok(mapping) = source(&format!("session: {{id: {}}}", json!(text))) {
            let _outcome = mapping.map(&record(br#"{"a": [1, {"b": "c"}], "d": 1.5}"#));
        }
    }
}
