//! Records as people read them: JSON in lines, checkpoint records in words, the rest as
//! text or hexadecimal digits.

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

/// The longest value that is shown, in bytes.
const MAX_BYTES: usize = 16 * 1024;
/// Headers that never tell whose a session is.
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

/// A record, ready to be shown.
#[derive(Clone, Debug, Serialize)]
pub struct ShownRecord {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: Moment,
    /// Its key.
    pub key: Option<String>,
    /// What its value is: `json`, `checkpoint`, `text`, `binary`, `tombstone`, `withheld`.
    pub form: &'static str,
    /// How long its value is, in bytes.
    pub bytes: usize,
    /// Its value, cut off where it is too long.
    pub value: String,
    /// Whether it is cut off.
    pub cut: bool,
    /// Its headers, in order.
    pub headers: Vec<ShownHeader>,
}

/// A header, ready to be shown.
#[derive(Clone, Debug, Serialize)]
pub struct ShownHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl ShownRecord {
    /// A record of one of `topics`.
    #[must_use]
    pub fn new(record: &TailRecord, topics: &Topics, redactor: &Redactor, now: Timestamp) -> Self {
        let (form, value) = value(record, topics, redactor);
        let (value, cut) = shorten(value);
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
                // Policies and processes are nobody's.
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
        return (
            "withheld",
            "(not JSON, so not shown while ids are redacted)".to_owned(),
        );
    }
    match str::from_utf8(bytes) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("binary", dump(bytes)),
    }
}

/// A checkpoint record in words; a damaged one says what is wrong with it.
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

/// Offset, sixteen bytes, and what of them can be read.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, chunk) in bytes.chunks(16).take(MAX_BYTES / 64).enumerate() {
        let digits: Vec<_> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let readable = chunk.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        // Strings take everything.
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

fn shorten(mut text: String) -> (String, bool) {
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
