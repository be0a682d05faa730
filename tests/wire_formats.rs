//! `docs/reference/events.md`, the JSON Schemas and the code describe the same wire formats.
#![allow(clippy::unwrap_used, reason = "tests panic on unexpected values")]

use std::sync::Arc;

use assert_cmd::Command;
use jsonschema::Validator;
use proptest::prelude::*;
use rdkafka::message::{Headers, OwnedHeaders};
use serde_json::{Value, json};
use sundown::commands::schema::{SchemaFormat, schema};
use sundown::session::table::TableConfig;
use sundown::session::{
    Effect, EventKind, Policy, PolicySet, SessionTable, Span, Subject, Timestamp,
};
use sundown::wire::dead_letter::{self, Cause, Origin};
use sundown::wire::event::{DecodeError, DecodeLimits, Decoded};
use sundown::wire::terminal::{SessionEnded, SessionExpiring, SourcePartition};

const PAGE: &str = include_str!("../docs/reference/events.md");

/// The source of the first example of the page.
const SOURCE: SourcePartition<'_> = SourcePartition {
    topic: "session_logs",
    partition: 1,
};
const OFFSET: i64 = 4711;
const STARTED: Timestamp = Timestamp::from_millis(1_738_929_600_000);
/// In milliseconds.
const YEAR_0: i64 = -62_167_219_200_000;
const YEAR_10000: i64 = 253_402_300_800_000;
const HOUR: Span = Span::from_secs(3600);

#[test]
fn example_events_match_the_schema_and_are_decoded_to_the_same_values() {
    let schema = validator(SchemaFormat::Event);
    let examples = blocks("json event");
    assert!(examples.len() >= 5, "{} examples", examples.len());
    for example in examples {
        let value: Value = serde_json::from_str(example).unwrap();
        assert!(schema.is_valid(&value), "{example}");
        assert_decoded_to_same_values(&value);
    }
}

#[test]
fn rejected_examples_are_rejected_with_the_documented_reason() {
    let schema = validator(SchemaFormat::Event);
    let rows = PAGE.lines().filter_map(|line| {
        let (reason, example) = line.strip_prefix("| `")?.split_once("` | `{")?;
        Some((reason, format!("{{{}", example.strip_suffix("` |")?)))
    });
    let mut reasons = Vec::new();
    for (reason, example) in rows {
        let error = decode(example.as_bytes()).unwrap_err();
        assert_eq!(error.code(), reason, "{example}: {error}");
        let value = serde_json::from_str(&example).unwrap();
        assert!(!schema.is_valid(&value), "{example}");
        reasons.push(reason);
    }
    assert_eq!(reasons, ["malformed", "missing_field", "invalid_field"]);
}

#[test]
fn the_first_example_leads_to_the_documented_terminal_event() {
    let effects = effects_of_first_event(None, STARTED + HOUR);
    let [Effect::Ended(ending)] = &effects[..] else {
        panic!("{effects:?}");
    };
    let detected_at = ending.ended_at + Span::from_millis(5_120);
    let ended = SessionEnded::new(ending, detected_at);
    assert_on_page("ending", SchemaFormat::Ending, &ended);
    assert_eq!(
        text_of(&ended.headers(SOURCE)),
        blocks("text ending headers")[0]
    );
}

#[test]
fn the_first_example_leads_to_the_documented_warning() {
    let ahead = Span::from_secs(300);
    let effects = effects_of_first_event(Some(ahead), STARTED + HOUR - ahead);
    let [Effect::Expiring(expiring)] = &effects[..] else {
        panic!("{effects:?}");
    };
    let warning = SessionExpiring::new(expiring);
    assert_on_page("expiring", SchemaFormat::Expiring, &warning);
    assert_eq!(
        text_of(&warning.headers(SOURCE)),
        blocks("text expiring headers")[0]
    );
}

#[test]
fn the_terminal_event_of_an_unknown_session_matches_the_schema() {
    let mut effects = Vec::new();
    let value = br#"{"session_id": "s", "event": "revoke", "activity_timestamp": 0}"#;
    let decoded = decode(value).unwrap();
    table(None).apply(decoded.event(), 0, STARTED, &mut effects);
    let [Effect::Ended(ending)] = &effects[..] else {
        panic!("{effects:?}");
    };
    let ended = serde_json::to_value(SessionEnded::new(ending, STARTED)).unwrap();
    assert_eq!(ended["user_id"], Value::Null);
    assert!(validator(SchemaFormat::Ending).is_valid(&ended), "{ended}");
}

#[test]
fn dead_letters_have_the_documented_headers() {
    let error = decode(br#"{"session_id": "abc123", "activity_timestamp": 0}"#).unwrap_err();
    let cause = Cause {
        reason: error.code(),
        error: error.to_string(),
        attempts: 1,
    };
    let origin = Origin {
        topic: SOURCE.topic,
        partition: SOURCE.partition,
        offset: OFFSET,
        timestamp: STARTED,
    };
    let headers = dead_letter::headers(OwnedHeaders::new(), &cause, origin);
    assert_eq!(text_of(&headers), blocks("text dead letter headers")[0]);
    assert!(PAGE.contains(dead_letter::PENDING_ACTIONS));
}

#[test]
fn a_policy_matches_its_schema() {
    let policy = json!({
        "apiVersion": "sundown.dev/v1alpha1",
        "kind": "SessionPolicy",
        "metadata": {"name": "default"},
        "spec": {"idleTimeout": "1h", "warnBefore": "5m", "match": {"userIds": ["svc-*"]}}
    });
    let schema = validator(SchemaFormat::Policy);
    assert!(schema.is_valid(&policy));
    assert!(!schema.is_valid(&json!({"kind": "SessionPolicy", "spec": {}})));
}

#[test]
fn the_schema_command_prints_the_schemas() {
    for (name, format) in [
        ("event", SchemaFormat::Event),
        ("ending", SchemaFormat::Ending),
        ("expiring", SchemaFormat::Expiring),
        ("policy", SchemaFormat::Policy),
    ] {
        let mut command = Command::cargo_bin("sundown").unwrap();
        let output = command.args(["schema", name]).assert().success();
        let printed: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        assert_eq!(printed, schema(format).to_value(), "{name}");
        assert!(printed["description"].is_string(), "{name}");
    }
}

proptest! {
    /// The decoder accepts every event that matches the schema.
    #[test]
    fn events_that_match_the_schema_are_decoded_to_the_same_values(value in events_and_near_misses()) {
        if EVENT_SCHEMA.with(|schema| schema.is_valid(&value)) {
            assert_decoded_to_same_values(&value);
        }
    }
}

thread_local! {
    static EVENT_SCHEMA: Validator = validator(SchemaFormat::Event);
}

/// Generates events, and objects that are almost events.
fn events_and_near_misses() -> impl Strategy<Value = Value> {
    let text = || "[a-z0-9é\"\\\\-]{0,6}".prop_map(Value::from);
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from)
    ];
    let id =
        prop_oneof![8 => text(), 1 => Just(Value::Null), 1 => any::<i64>().prop_map(Value::from)];
    let user = prop_oneof![4 => text(), 4 => number, 1 => Just(json!([1])), 1 => Just(Value::Null)];
    let at = prop_oneof![
        "(0001|1969|2025|9999)-0[1-3]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:00(\\.[0-9]{1,4})?(Z|[+-]0[0-9]:30)"
            .prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-70_000_000_000_000_i64..260_000_000_000_000).prop_map(Value::from),
        prop::sample::select(vec![YEAR_0 - 1, YEAR_0, YEAR_10000 - 1, YEAR_10000])
            .prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0.0..2e9).prop_map(Value::from),
        "[0-9]{1,21}(\\.[0-9]{1,4})?".prop_map(Value::from),
        text(),
    ];
    let kinds = vec![
        "activity", "login", "logout", "revoke", "rotated", "Login", "",
    ];
    let kind = prop::sample::select(kinds).prop_map(Value::from);
    let attributes = prop_oneof![
        4 => prop::collection::btree_map("[a-z]{0,3}", "[a-z]{0,3}", 0..3).prop_map(|map| json!(map)),
        1 => Just(json!({"a": 1, "b": true, "c": null, "d": 2.5})),
        1 => Just(json!({"a": []})),
    ];
    let except = prop_oneof![text(), Just(json!(7))];
    let matches = prop_oneof![
        2 => prop::collection::btree_map("[a-z]{0,3}", "[a-z]{0,3}", 0..3)
            .prop_map(|map| json!({"attributes": map})),
        2 => Just(json!({})),
        1 => Just(json!({"attributes": {"a": 1, "b": true}})),
        1 => Just(json!({"attributes": {"a": null}})),
        1 => Just(json!({"tenant": "acme"})),
    ];
    let absent = |field: BoxedStrategy<Value>, often| prop::option::weighted(often, field);
    (
        absent(id.boxed(), 0.7),
        absent(user.boxed(), 0.8),
        absent(at.boxed(), 0.95),
        absent(kind.boxed(), 0.7),
        absent(attributes.boxed(), 0.4),
        absent(except.boxed(), 0.1),
        absent(matches.boxed(), 0.2),
    )
        .prop_map(|(session, user, at, kind, attributes, except, matches)| {
            let fields = [
                ("session_id", session),
                ("user_id", user),
                ("activity_timestamp", at),
                ("event", kind),
                ("attributes", attributes),
                ("except_session_id", except),
                ("match", matches),
            ];
            let present = fields
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)));
            json!(present.collect::<std::collections::BTreeMap<_, _>>())
        })
}

/// Asserts that the decoded event has the values of the JSON.
fn assert_decoded_to_same_values(value: &Value) {
    let bytes = value.to_string();
    let decoded = decode(bytes.as_bytes()).unwrap();
    let event = decoded.event();
    let (field, session, user) = match event.subject {
        Subject::Session { id, user } => ("session_id", Some(id), user),
        Subject::AllSessionsOf { user, except } => ("except_session_id", except, Some(user)),
        Subject::Matching { attributes } => {
            let matched = attributes
                .iter()
                .collect::<std::collections::BTreeMap<_, _>>();
            let expected = value["match"].get("attributes").and_then(Value::as_object);
            let expected = expected.into_iter().flatten();
            let expected: Vec<_> = expected
                .map(|(name, value)| (name.as_str(), text(value)))
                .collect();
            assert_eq!(matched.len(), expected.len(), "{value}");
            for (name, text) in expected {
                assert_eq!(matched.get(name).copied(), Some(text.as_str()), "{value}");
            }
            ("match", None, None)
        }
    };
    let expected_session = value.get(field).map(text);
    assert_eq!(
        session,
        expected_session.as_deref().filter(|_| field != "match")
    );
    let expected_user = value.get("user_id").map(|user| match user {
        Value::String(text) => (text.clone(), false),
        other => (other.to_string(), true),
    });
    assert_eq!(
        user.map(|user| (user.text.to_owned(), user.number)),
        expected_user
    );
    assert_time(event.at, value.get("activity_timestamp"));
    let kind = match value.get("event").and_then(Value::as_str) {
        None | Some("activity") => EventKind::Activity,
        Some("login") => EventKind::Login,
        Some("logout") => EventKind::Logout,
        Some("revoke") => EventKind::Revoke,
        Some("rotated") => EventKind::Rotated,
        Some(other) => panic!("{other} matches the schema"),
    };
    assert_eq!(event.kind, kind);
    let attributes = event.attributes.map(|all| all.iter().collect());
    let expected = value.get("attributes").and_then(Value::as_object);
    let expected = expected.map(|map| {
        let present = map.iter().filter(|(_, value)| !value.is_null());
        present
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    });
    assert_eq!(
        attributes.map(|map: std::collections::BTreeMap<_, _>| json!(map)),
        expected.map(|map: std::collections::BTreeMap<_, _>| json!(map))
    );
}

/// Returns a string, or the literal of a number or boolean.
fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Asserts that the time is that of the value, up to the rounding of floats.
fn assert_time(at: Timestamp, value: Option<&Value>) {
    let Some(value) = value else {
        assert_eq!(at, STARTED);
        return;
    };
    let text = text(value);
    if let Ok(expected) = chrono::DateTime::parse_from_rfc3339(&text) {
        assert_eq!(at.as_millis(), expected.timestamp_millis(), "{text}");
        return;
    }
    let number: f64 = text.parse().unwrap();
    let millis_per_unit = match number {
        ..1e11 => 1e3,
        ..1e14 => 1.0,
        ..1e17 => 1e-3,
        _ => 1e-6,
    };
    let expected = number * millis_per_unit;
    #[expect(clippy::cast_precision_loss, reason = "the difference is small")]
    let difference = (at.as_millis() as f64 - expected).abs();
    assert!(difference <= 1.0 + expected * 1e-9, "{text}: {at:?}");
}

/// Decodes an event whose record may be much younger.
fn decode(value: &[u8]) -> Result<Decoded<'_>, DecodeError> {
    let limits = DecodeLimits {
        max_event_age: Span::from_millis(i64::MAX),
        ..DecodeLimits::default()
    };
    sundown::wire::event::decode(Some(value), Some(STARTED), &limits)
}

/// Returns the effects of the first example of the page until `until`.
fn effects_of_first_event(warn_before: Option<Span>, until: Timestamp) -> Vec<Effect> {
    let mut table = table(warn_before);
    let mut effects = Vec::new();
    let decoded = decode(blocks("json event")[0].as_bytes()).unwrap();
    table.apply(decoded.event(), OFFSET, STARTED, &mut effects);
    table.advance(until + Span::from_secs(5), 10, &mut effects);
    effects
}

fn table(warn_before: Option<Span>) -> SessionTable {
    let fallback = Policy::built_in(HOUR, None);
    let policy = warn_before.map(|_| Policy {
        name: "default".to_owned(),
        generation: 1,
        warn_before,
        ..fallback.clone()
    });
    let policies = PolicySet::new(policy.into_iter().collect(), fallback).unwrap();
    SessionTable::new(TableConfig::default(), Arc::new(policies), Timestamp::MIN)
}

/// Asserts that the page shows exactly this event and that it matches its schema.
fn assert_on_page(language: &str, format: SchemaFormat, event: &impl serde::Serialize) {
    let actual = serde_json::to_value(event).unwrap();
    let shown: Value = serde_json::from_str(blocks(&format!("json {language}"))[0]).unwrap();
    assert_eq!(
        shown, actual,
        "docs/reference/events.md should show {actual:#}"
    );
    assert!(validator(format).is_valid(&actual), "{actual}");
}

fn validator(format: SchemaFormat) -> Validator {
    jsonschema::options()
        .should_validate_formats(true)
        .build(&schema(format).to_value())
        .unwrap()
}

/// Returns the code blocks of the page with the info string `info`.
fn blocks(info: &str) -> Vec<&'static str> {
    let opening = format!("```{info}\n");
    let bodies = PAGE.split(&opening).skip(1);
    bodies
        .filter_map(|rest| Some(rest.split_once("\n```")?.0))
        .collect()
}

fn text_of(headers: &OwnedHeaders) -> String {
    let line = |header: rdkafka::message::Header<'_, &[u8]>| {
        let value = std::str::from_utf8(header.value.unwrap()).unwrap();
        format!("{}: {value}", header.key)
    };
    headers.iter().map(line).collect::<Vec<_>>().join("\n")
}
