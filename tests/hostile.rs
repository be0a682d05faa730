//! Hostile input: every decoder returns a value or an error, in time and memory bounded by the size of
//! its input.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot continue panics with what it found"
)]

use std::fs;

use proptest::prelude::*;
use sundown::handler::actions_file::Actions;
use sundown::handler::event::Trigger;
use sundown::kafka::topic_feed::TopicRecord;
use sundown::policy::file::PolicyFile;
use sundown::policy::store::PolicyStore;
use sundown::processes::ProcessReport;
use sundown::session::{
    Attributes, Checkpoint, Packed, Policy, Record, RecordKey, SessionRecord, Span, Timestamp,
    UserId,
};
use sundown::tracker::offset_metadata::OffsetMetadata;
use sundown::wire::event::{DecodeError, DecodeLimits, Decoded};
use sundown::wire::partitioner::murmur2_partition;
use sundown::wire::record::TimestampKind;
use sundown::wire::watermark::WatermarkStore;

const POLICY: &str = "apiVersion: sundown.dev/v1alpha1
kind: SessionPolicy
metadata: {name: default}
spec: {idleTimeout: 1h, match: {attributes: {tenant: acme}, userIds: ['svc-*']}}
";
const ACTIONS: &str = "actions:
  - {name: note, type: log}
  - {name: call, type: webhook, url: 'https://example.org/'}
";
/// Deeper than any stack.
const DEEP: usize = 200_000;
/// Less for files, which operators write: YAML's scanner takes more than a minute at the full depth.
const DEEP_FILE: usize = 2_000;

proptest! {
    #[test]
    fn arbitrary_text_as_a_policy_file_is_read_or_refused(text in texts(POLICY)) {
        let _read_or_refused = read_policies(&text);
    }

    #[test]
    fn arbitrary_text_as_an_actions_file_is_read_or_refused(text in texts(ACTIONS)) {
        let _read_or_refused = read_actions(&text);
    }

    #[test]
    fn a_checkpoint_record_with_any_byte_changed_is_read_or_refused(
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let mut value = checkpoint();
        let at = at.index(value.len());
        value[at] = byte;
        let _read_or_refused = Record::decode(key(), &value);
    }

    #[test]
    fn an_arbitrary_record_is_read_or_refused_by_every_reader(
        key in prop::option::of(keys()),
        value in prop::option::of(values()),
        partition in 0..9_i32,
    ) {
        let text = String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned();
        let _read_or_refused = decode(&text);
        let _read_or_refused = OffsetMetadata::decode(&text);
        let _known = murmur2_partition(key.as_deref(), partition + 1);
        let bytes = value.as_deref().unwrap_or_default();
        if let Ok(record_key) = RecordKey::decode(key.as_deref().unwrap_or_default()) {
            let _read_or_refused = Record::decode(record_key, bytes);
        }
        let _read_or_refused = serde_json::from_slice::<ProcessReport>(bytes);
        let _read_or_refused = Trigger::Ending.decode(bytes);
        let _read_or_refused = Trigger::Warning.decode(bytes);
        let mut watermarks = WatermarkStore::default();
        for kind in [&b""[..], b"tracker-", b"ingest/"] {
            let key = [kind, key.as_deref().unwrap_or_default()].concat();
            let _applied_or_refused = watermarks.apply(&key, value.as_deref());
        }
        let _applied_or_refused = PolicyStore::default().apply(&TopicRecord {
            partition,
            offset: 0,
            timestamp: Timestamp::MAX,
            timestamp_kind: TimestampKind::CreateTime,
            key,
            value,
        });
    }
}

/// Keys of control records among others.
fn keys() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<Vec<u8>>(),
        "(pause|source|policy)?[:/]?[a-z]{0,8}[/:]?[0-9]{0,12}".prop_map(String::into_bytes),
    ]
}

/// Bytes, and JSON with the field names of several formats.
fn values() -> impl Strategy<Value = Vec<u8>> {
    let field = prop::sample::select(vec![
        "v",
        "id",
        "session_id",
        "user_id",
        "event_id",
        "reason",
        "policy",
        "attributes",
        "spec",
        "metadata",
        "replay_from",
        "routing",
        "watermarks",
        "topic_id",
        "sessions",
        "watermark",
        "policies",
        "at",
        "by",
    ]);
    let value = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
        Just("[[]]".to_owned()),
        Just(r#"{"name":{},"generation":-1}"#.to_owned()),
    ];
    let fields = prop::collection::vec((field, value), 0..6).prop_map(|fields| {
        let fields = fields
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(",")).into_bytes()
    });
    prop_oneof![any::<Vec<u8>>(), fields]
}

#[test]
fn deep_nesting_is_refused_without_stack_overflow() {
    let event = |field: &str, open: &str, close: &str| {
        let nested = format!("{}{}", open.repeat(DEEP), close.repeat(DEEP));
        format!(r#"{{"session_id":"s","user_id":1,"activity_timestamp":0,"{field}":{nested}}}"#)
    };
    for field in ["session_id", "user_id", "activity_timestamp", "event"] {
        let nested = event(field, "[", "]");
        assert!(decode(&nested).is_err(), "{field}");
        let cut_short = &nested[..nested.len() / 2];
        assert!(decode(cut_short).is_err(), "{field}, cut short");
    }
    let nested = event("attributes", "[", "]");
    for value in [
        &nested,
        &nested.replace(":[", r#":{"a":["#).replace("]}", "]}}"),
    ] {
        let decoded = decode(value).unwrap();
        assert!(decoded.dropped_attributes().any(), "the event counts");
    }
}

fn decode(event: &str) -> Result<Decoded<'_>, DecodeError> {
    sundown::wire::event::decode(Some(event.as_bytes()), None, &DecodeLimits::default())
}

#[test]
fn a_deeply_nested_file_is_refused() {
    for open in ["[", "{a: ", "- "] {
        let text = open.repeat(DEEP_FILE);
        assert!(read_policies(&text).is_err());
        assert!(read_actions(&text).is_err());
    }
}

#[test]
fn aliases_of_aliases_are_refused() {
    let mut text = "a: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("b{level}: &a{level} [{aliases}]\n"));
    }
    assert!(read_policies(&text).is_err());
    assert!(read_actions(&text).is_err());
}

#[test]
fn a_false_count_of_attributes_allocates_no_memory() {
    let mut value = checkpoint();
    // The last byte is the number of attributes: none. Instead, 2^61 of them.
    value.pop();
    value.extend([0xff; 8]);
    value.push(0x3f);
    assert!(Record::decode(key(), &value).is_err());
}

/// Arbitrary text, and valid text with a part replaced.
fn texts(valid: &'static str) -> impl Strategy<Value = String> {
    let cut = (any::<prop::sample::Index>(), ".{0,20}", 0..30_usize).prop_map(
        move |(at, text, removed)| {
            let at = at.index(valid.len());
            let rest = (at + removed).min(valid.len());
            format!("{}{text}{}", &valid[..at], &valid[rest..])
        },
    );
    prop_oneof![1 => ".{0,200}", 4 => cut]
}

fn read_policies(text: &str) -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let fallback = Policy::built_in(Span::from_secs(3600), None);
    let read = PolicyFile::open(file.path(), fallback);
    read.map(drop).map_err(|error| error.to_string())
}

fn read_actions(text: &str) -> Result<(), String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let read = Actions::load(file.path());
    read.map(drop).map_err(|error| error.to_string())
}

fn key() -> RecordKey {
    RecordKey::Session(Packed::new("s"))
}

fn checkpoint() -> Vec<u8> {
    let live = Checkpoint {
        user: UserId {
            text: Packed::new("ann"),
            number: false,
        },
        started_at: Timestamp::from_millis(1_764_000_000_000),
        authenticated_at: Timestamp::from_millis(1_764_000_000_000),
        logged_in: true,
        began_with_login: true,
        last_activity: Timestamp::from_millis(1_764_000_060_000),
        warned_of: Some(Timestamp::from_millis(1_764_003_600_000)),
        attributes: None::<Attributes>,
        attributes_at: None,
        deferred: Vec::new(),
        awaits_check: false,
        position: 7,
    };
    let record = Record::Session(SessionRecord {
        session: Packed::new("s"),
        live: Some(live),
        ended: None,
        unmatched: Vec::new(),
    });
    let mut value = Vec::new();
    record.encode(&mut value);
    value
}
