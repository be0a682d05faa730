//! The file of exported state: NDJSON.
//!
//! The first line describes the export and the last one counts the records, so that a file that was
//! cut off is noticed. Each line between them is a checkpoint record. Its `state` and `key` are what
//! is imported; the other fields are for readers and tools such as `jq`.

use std::io::{BufRead, Read, Write};

use anyhow::{Context, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::session::{Attributes, Record, RecordKey, UserId};
use crate::wire::time;

/// The version of the format.
const VERSION: u32 = 1;
/// Bounds a line, in bytes: much more than a record may have.
const MAX_LINE_BYTES: u64 = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum ExportLine {
    Export(Header),
    Session(Exported),
    CutOff(Exported),
    End { records: u64 },
}

/// What an export is of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    v: u32,
    /// When the export began, RFC 3339.
    pub(super) exported_at: String,
    /// The topic of session events.
    pub(super) topic: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Exported {
    /// The key of the checkpoint record, in base64.
    key: String,
    /// Its value, in base64.
    state: String,
    #[serde(flatten)]
    readable: Map<String, Value>,
}

/// Writes a file.
pub(super) struct StateFileWriter<W> {
    to: W,
    records: u64,
}

impl<W: Write> StateFileWriter<W> {
    /// Starts a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn new(to: W, exported_at: String, topic: String) -> anyhow::Result<Self> {
        let mut file = Self { to, records: 0 };
        let v = VERSION;
        file.line(&ExportLine::Export(Header {
            v,
            exported_at,
            topic,
        }))?;
        Ok(file)
    }

    /// Writes a record.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&mut self, record: &Record) -> anyhow::Result<()> {
        let (mut key, mut state) = (Vec::new(), Vec::new());
        record.key().encode(&mut key);
        record.encode(&mut state);
        let exported = Exported {
            key: BASE64_STANDARD.encode(key),
            state: BASE64_STANDARD.encode(state),
            readable: readable(record),
        };
        self.records += 1;
        self.line(&match record {
            Record::Session(_) => ExportLine::Session(exported),
            Record::CutOff(_) => ExportLine::CutOff(exported),
        })
    }

    /// Ends the file, and returns the number of records.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn finish(mut self) -> anyhow::Result<u64> {
        let records = self.records;
        self.line(&ExportLine::End { records })?;
        self.to.flush().context("cannot write the export")?;
        Ok(records)
    }

    fn line(&mut self, line: &ExportLine) -> anyhow::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.to.write_all(&bytes).context("cannot write the export")
    }
}

fn readable(record: &Record) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    match record {
        Record::CutOff(cut_off) => {
            put("at", time::format(cut_off.cut_off.at).into());
            put("reason", cut_off.cut_off.reason.as_str().into());
        }
        Record::Session(session) => {
            put("session_id", session.session.text(&mut [0; 36]).into());
            if let Some(live) = &session.live {
                put("user_id", user(&live.user));
                put("started_at", time::format(live.started_at).into());
                put("last_activity", time::format(live.last_activity).into());
                let attributes = live.attributes.iter().flat_map(Attributes::iter);
                let attributes: Map<_, _> = attributes
                    .map(|(name, value)| (name.to_owned(), value.into()))
                    .collect();
                put("attributes", attributes.into());
            }
            if let Some(ended) = session.ended {
                let at = time::format(ended.ended_at);
                put("ended", json!({"reason": ended.reason.as_str(), "at": at}));
            }
        }
    }
    fields
}

fn user(user: &UserId) -> Value {
    let mut buffer = [0; 36];
    let text = user.text.text(&mut buffer);
    let number = user.number.then(|| text.parse::<i64>().ok()).flatten();
    number.map_or_else(|| text.into(), Value::from)
}

/// Reads a whole file, and passes each record to `visit`. Returns what it is an export of.
///
/// # Errors
/// If the file is not an export, of a later release, damaged or cut off.
pub(super) fn read(
    mut from: impl BufRead,
    mut visit: impl FnMut(Record),
) -> anyhow::Result<Header> {
    let mut header = None;
    let mut records = 0;
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let mut limited = from.by_ref().take(MAX_LINE_BYTES);
        let read = limited.read_until(b'\n', &mut line);
        read.context("cannot read the file")?;
        if !line.ends_with(b"\n") {
            bail!("line {number} is not whole: the file was cut off; export the state again");
        }
        let parsed = serde_json::from_slice(&line);
        let parsed = parsed.with_context(|| {
            format!("line {number} is not a line of an export; use a file that `sundown state export` wrote")
        })?;
        match (parsed, &header) {
            (ExportLine::Export(found), None) if found.v == VERSION => header = Some(found),
            (ExportLine::Export(found), None) => bail!(
                "the file has version {}, and this release reads version {VERSION}: import it with the release that wrote it",
                found.v
            ),
            (ExportLine::Session(exported) | ExportLine::CutOff(exported), Some(_)) => {
                let record = decode(&exported).with_context(|| format!("line {number}"))?;
                records += 1;
                visit(record);
            }
            (ExportLine::End { records: stated }, Some(header)) if stated == records => {
                return Ok(header.clone());
            }
            (ExportLine::End { records: stated }, Some(_)) => {
                bail!("the file has {records} of its {stated} records; export the state again")
            }
            _ => {
                bail!("line {number} is out of place; use a file that `sundown state export` wrote")
            }
        }
    }
    bail!("the file has too many lines")
}

fn decode(exported: &Exported) -> anyhow::Result<Record> {
    let bytes = |text: &str| BASE64_STANDARD.decode(text).context("it is not base64");
    let key = RecordKey::decode(&bytes(&exported.key)?)?;
    Ok(Record::decode(key, &bytes(&exported.state)?)?)
}
