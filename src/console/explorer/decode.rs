//! Decodes records for display: JSON indented, checkpoint records as JSON, other values as
//! text or a hex dump.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

use crate::console::format::Moment;
use crate::console::live::tail::TailRecord;
use crate::console::redact::Redactor;
use crate::kafka::Topics;
use crate::session::Timestamp;
use crate::session::checkpoint::Checkpoint;
use crate::session::id::Packed;
use crate::wire::{dead_letter, time};

/// The longest value shown, in bytes.
const MAX_BYTES: usize = 16 * 1024;
/// Headers that never identify a session or a user.
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

/// A record for display.
#[derive(Clone, Debug, Serialize)]
pub struct ShownRecord {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Moment,
    pub key: Option<String>,
    /// The form of the value: `json`, `checkpoint`, `text`, `binary`, `tombstone`, `withheld`.
    pub form: &'static str,
    /// The length of the value, in bytes.
    pub bytes: usize,
    /// The value, truncated if `cut`.
    pub value: String,
    pub cut: bool,
    /// The headers, in order.
    pub headers: Vec<ShownHeader>,
}

/// A header for display.
#[derive(Clone, Debug, Serialize)]
pub struct ShownHeader {
    pub name: String,
    pub value: String,
}

impl ShownRecord {
    /// Decodes a record of one of `topics`.
    #[must_use]
    pub fn new(record: &TailRecord, topics: &Topics, redactor: &Redactor, now: Timestamp) -> Self {
        let (form, value) = value(record, topics, redactor);
        let (value, cut) = truncate(value);
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
                // The keys of policies and process reports identify no user.
                let plain = record.topic == topics.policies || record.topic == topics.processes;
                if plain { text } else { redactor.id(&text) }
            }),
            form,
            bytes: record.value.as_ref().map_or(0, Vec::len),
            value,
            cut,
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
        return ("withheld", "(withheld: redaction requires JSON)".to_owned());
    }
    match str::from_utf8(bytes) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("binary", dump(bytes)),
    }
}

/// A checkpoint record as JSON, or the error of a damaged one.
fn checkpoint(key: Option<&[u8]>, value: &[u8]) -> Option<Value> {
    let session = str::from_utf8(key?).ok()?;
    let state = match Checkpoint::decode(Packed::new(session), value) {
        Ok(state) => state,
        Err(error) => return Some(json!({"session_id": session, "error": error.to_string()})),
    };
    let attributes = state.attributes.iter().flat_map(|all| all.iter());
    let attributes: serde_json::Map<_, _> = attributes
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect();
    Some(json!({
        "session_id": session,
        "user_id": state.user.text.to_string(),
        "user_id_is_number": state.user.number,
        "started_at": time::format(state.started_at),
        "last_activity": time::format(state.last_activity),
        "warned_of": state.warned_of.map(time::format),
        "start_offset": state.start_offset,
        "attributes": attributes,
    }))
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

/// A hex dump: offset, sixteen bytes, printable characters.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, chunk) in bytes.chunks(16).take(MAX_BYTES / 64).enumerate() {
        let digits: Vec<_> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let readable = chunk.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        // Writing to a string cannot fail.
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
    if text.len() <= MAX_BYTES {
        return (text, false);
    }
    let mut end = MAX_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    (text, true)
}
