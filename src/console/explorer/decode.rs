//! Human-readable records: indented JSON, decoded checkpoint records, text and hex dumps.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

use crate::console::format::Moment;
use crate::console::live::tail::TailRecord;
use crate::console::redact::Redactor;
use crate::kafka::Topics;
use crate::session::Timestamp;
use crate::session::checkpoint::CutOffRecord;
use crate::session::{Attributes, Checkpoint, CutOffScope, Record, RecordKey};
use crate::wire::{dead_letter, time};

/// Limit on a formatted value, in bytes.
const MAX_VALUE_BYTES: usize = 16 * 1024;
/// Headers that contain no ids and no personal data.
const PLAIN_HEADERS: [&str; 11] = [
    dead_letter::REASON,
    dead_letter::SOURCE_TOPIC,
    dead_letter::SOURCE_PARTITION,
    dead_letter::SOURCE_OFFSET,
    dead_letter::SOURCE_TIMESTAMP,
    dead_letter::ATTEMPTS,
    dead_letter::PENDING_ACTIONS,
    "ce_id",
    "ce_type",
    "ce_time",
    "content-type",
];

/// A formatted record.
#[derive(Clone, Debug, Serialize)]
pub struct ShownRecord {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Moment,
    pub key: Option<String>,
    /// Format of the value: `json`, `checkpoint`, `text`, `binary`, `tombstone`, `withheld`.
    pub format: &'static str,
    /// Size of the original value.
    pub bytes: usize,
    pub value: String,
    /// Whether the value is truncated.
    pub truncated: bool,
    pub headers: Vec<ShownHeader>,
}

/// A formatted header.
#[derive(Clone, Debug, Serialize)]
pub struct ShownHeader {
    pub name: String,
    pub value: String,
}

impl ShownRecord {
    /// Formats a record of one of `topics`.
    #[must_use]
    pub fn new(record: &TailRecord, topics: &Topics, redactor: &Redactor, now: Timestamp) -> Self {
        let (format, value) = value(record, topics, redactor);
        let (value, truncated) = truncate(value);
        let headers = record.headers.iter().map(|(name, value)| ShownHeader {
            name: name.clone(),
            value: if redactor.is_on() && !PLAIN_HEADERS.contains(&name.as_str()) {
                "(withheld)".to_owned()
            } else {
                value.as_deref().map_or_else(String::new, text_or_hex)
            },
        });
        Self {
            topic: record.topic.clone(),
            partition: record.partition,
            offset: record.offset,
            timestamp: Moment::new(record.timestamp, now),
            key: record.key.as_deref().map(|key| {
                let text = text_or_hex(key);
                // Names of policies and processes are not personal data.
                let plain = record.topic == topics.policies || record.topic == topics.processes;
                if plain { text } else { redactor.id(&text) }
            }),
            format,
            bytes: record.value.as_ref().map_or(0, Vec::len),
            value,
            truncated,
            headers: headers.collect(),
        }
    }
}

fn value(record: &TailRecord, topics: &Topics, redactor: &Redactor) -> (&'static str, String) {
    let Some(bytes) = record.value.as_deref() else {
        return ("tombstone", String::new());
    };
    if record.topic == topics.checkpoint
        && let Some(mut state) = checkpoint(record.key.as_deref(), bytes)
    {
        redactor.json(&mut state);
        return ("checkpoint", pretty(&state));
    }
    if let Ok(mut value) = serde_json::from_slice::<Value>(bytes)
        && (value.is_object() || !redactor.is_on())
    {
        redactor.json(&mut value);
        return ("json", pretty(&value));
    }
    if redactor.is_on() {
        return (
            "withheld",
            "(only JSON objects are shown while ids are redacted)".to_owned(),
        );
    }
    match str::from_utf8(bytes) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("binary", dump(bytes)),
    }
}

/// Decodes a checkpoint record; a damaged one becomes an error message.
fn checkpoint(key: Option<&[u8]>, value: &[u8]) -> Option<Value> {
    let key = RecordKey::decode(key?).ok()?;
    let id = match &key {
        RecordKey::Session(session) => Some(session.to_string()),
        RecordKey::CutOff(_) => None,
    };
    Some(match Record::decode(key, value) {
        Err(error) => json!({"session_id": id, "error": error.to_string()}),
        Ok(Record::Session(record)) => json!({
            "session_id": id,
            "live": record.live.as_ref().map(live_session),
            "ended": record.ended.map(|ended| json!({
                "reason": ended.reason.as_str(),
                "ended_at": time::format(ended.ended_at),
                "in_flight": ended.in_flight.map(time::format),
            })),
            "unmatched": record.unmatched.iter().map(|end| json!({
                "reason": end.reason.as_str(),
                "at": time::format(end.at),
            })).collect::<Vec<_>>(),
        }),
        Ok(Record::CutOff(record)) => cut_off(&record),
    })
}

fn live_session(live: &Checkpoint) -> Value {
    json!({
        "user_id": live.user.text.to_string(),
        "user_id_is_number": live.user.number,
        "started_at": time::format(live.started_at),
        "authenticated_at": time::format(live.authenticated_at),
        "last_activity": time::format(live.last_activity),
        "warned_of": live.warned_of.map(time::format),
        "deferred_events": live.deferred.len(),
        "attributes": live.attributes.as_ref().map(attribute_map),
    })
}

fn cut_off(record: &CutOffRecord) -> Value {
    let cut_off = &record.cut_off;
    let (user, attributes) = match &cut_off.scope {
        CutOffScope::User(user) => (Some(user.text.to_string()), None),
        CutOffScope::Matching(attributes) => (None, Some(attribute_map(attributes))),
    };
    json!({
        "user_id": user,
        "attributes": attributes,
        "except_session_id": cut_off.except.as_ref().map(ToString::to_string),
        "reason": cut_off.reason.as_str(),
        "at": time::format(cut_off.at),
        "complete": record.complete,
    })
}

fn attribute_map(attributes: &Attributes) -> serde_json::Map<String, Value> {
    let pairs = attributes.iter();
    pairs
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn text_or_hex(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("0x{}", hex::encode(bytes)),
    }
}

/// Formats a hex dump with 16 bytes per line: offset, digits, ASCII.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, chunk) in bytes.chunks(16).take(MAX_VALUE_BYTES / 64).enumerate() {
        let digits: Vec<_> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let readable = chunk.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        // Writing to a string never fails.
        let _infallible = writeln!(
            text,
            "{:06x}  {:<47}  {}",
            row * 16,
            digits.join(" "),
            readable.collect::<String>()
        );
    }
    text
}

fn truncate(mut text: String) -> (String, bool) {
    if text.len() <= MAX_VALUE_BYTES {
        return (text, false);
    }
    let mut end = MAX_VALUE_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    (text, true)
}
