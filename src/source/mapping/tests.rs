mod recipes;
mod schemas;

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
    assert_eq!(all.target, Target::EveryPartition);
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
