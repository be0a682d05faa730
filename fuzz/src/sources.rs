//! Mapping records of sources.

use std::sync::LazyLock;

use serde_json::{Value, json};
use sundown::session::Timestamp;
use sundown::source::document::SessionSource;
use sundown::source::mapping::{Mapped, Mapping};
use sundown::source::record::InputRecord;
use sundown::wire::event::{DecodeLimits, decode};

use super::first_line;

/// The time of records.
const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

/// A source of each format that needs no schemas, in the order of the digits that select them.
static MAPPINGS: LazyLock<Vec<Mapping>> = LazyLock::new(|| {
    let session = json!({
        "id": "value.id", "user": "value.?user.orValue(null)", "time": "value.?at.orValue(null)",
        "event": "has(value.kind) && value.kind == 'LOGOUT' ? 'logout' : 'activity'",
        "attributes": {"tenant": "value.tenant", "all": "string(value.tags)"},
    });
    let specs = [
        json!({"format": "json", "session": session}),
        json!({"format": "json", "envelope": "connect", "session": session}),
        json!({"format": "cloudevents", "session": session}),
        json!({
            "format": "text",
            "pattern": r"^(?P<host>\S+) \S+ (?P<user>\S+) \[(?P<at>[^\]]*)\] (?P<id>\S+)",
            "session": {"id": "value.id", "user": "value.user", "time": "value.at"},
        }),
    ];
    specs.iter().map(mapping).collect()
});

/// Compiles a source with this spec.
pub(super) fn mapping(spec: &Value) -> Mapping {
    let mapping = compile(spec.clone());
    mapping.expect("a valid source")
}

fn compile(mut spec: Value) -> Option<Mapping> {
    spec["topics"] = json!(["clicks"]);
    let document: SessionSource = serde_json::from_value(json!({
        "apiVersion": "sundown.dev/v1alpha1", "kind": "SessionSource",
        "metadata": {"name": "web"}, "spec": spec,
    }))
    .ok()?;
    Mapping::compile(&document).ok()
}

/// The first line has the digit of the source and then the key, the rest is the value. The header that
/// CloudEvents need is always there.
pub(super) fn source_record(data: &[u8]) {
    let (line, value) = first_line(data);
    let Some((digit, key)) = line.split_first() else {
        return;
    };
    let number = usize::from(digit.wrapping_sub(b'0'));
    if let Some(mapping) = MAPPINGS.get(number) {
        map(mapping, key, value);
    }
}

/// Trackers can decode what is mapped.
pub(super) fn map(mapping: &Mapping, key: &[u8], value: &[u8]) {
    let record = InputRecord {
        topic: "clicks",
        partition: 1,
        timestamp: Some(NOW),
        key: Some(key),
        value: Some(value),
        headers: vec![(
            "content-type".to_owned(),
            Some(b"application/json".to_vec()),
        )],
    };
    if let Ok(Mapped::Event(event)) = mapping.map(&record) {
        let limits = DecodeLimits {
            max_event_age: sundown::session::Span::from_millis(i64::MAX),
            ..DecodeLimits::default()
        };
        let decoded = decode(Some(&event.value), Some(NOW), &limits);
        let value = event.value.escape_ascii();
        assert!(decoded.is_ok(), "{value}: {decoded:?}");
    }
}

/// The first line is an expression, which is compiled as the id and as the condition of a source, and then
/// evaluated on the rest.
pub(super) fn expression(data: &[u8]) {
    let (text, value) = first_line(data);
    let Ok(text) = str::from_utf8(text) else {
        return;
    };
    for spec in [
        json!({"session": {"id": text}}),
        json!({"session": {"id": "'s'"}, "when": text}),
        json!({"session": {"id": "'s'", "time": text, "attributes": {"a": text}}}),
    ] {
        if let Some(mapping) = compile(spec) {
            map(&mapping, b"key", value);
        }
    }
}
