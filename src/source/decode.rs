//! From the bytes of a record to the variable `value`.

mod cloud_event;
mod compression;
mod json;
mod text;
mod value;

use std::borrow::Cow;
use std::collections::BTreeSet;

use self::text::Pattern;
use self::value::BoxedValue;
use super::record::InputRecord;
use super::spec::{Envelope, RecordFormat, SessionSourceSpec};

/// Decodes the records of one source.
#[derive(Debug)]
pub(super) struct Decoder {
    format: RecordFormat,
    envelope: Option<Envelope>,
    pattern: Option<Pattern>,
    /// The fields of `value` that expressions read; `None` for all.
    keep: Option<BTreeSet<String>>,
}

impl Decoder {
    /// Creates the decoder of a source.
    ///
    /// # Errors
    /// If the format's settings are inconsistent: the field, the problem and the remedy.
    pub(super) fn new(spec: &SessionSourceSpec) -> Result<Self, (&'static str, String)> {
        let pattern = match (spec.format, &spec.pattern) {
            (RecordFormat::Text, Some(pattern)) => {
                Some(Pattern::new(pattern).map_err(|problem| ("spec.pattern", problem))?)
            }
            (RecordFormat::Text, None) => {
                let problem = "is missing: format text needs a regular expression with named groups, as in (?<path>\\S+)";
                return Err(("spec.pattern", problem.to_owned()));
            }
            (_, Some(_)) => {
                let problem = "applies to format text only: remove it, or set format: text";
                return Err(("spec.pattern", problem.to_owned()));
            }
            (_, None) => None,
        };
        if spec.envelope.is_some() && spec.format != RecordFormat::Json {
            let problem = "applies to format json only: remove it";
            return Err(("spec.envelope", problem.to_owned()));
        }
        Ok(Self {
            format: spec.format,
            envelope: spec.envelope,
            pattern,
            keep: None,
        })
    }

    /// The fields of `value`, if the format determines them.
    pub(super) fn fields(&self) -> Option<Vec<String>> {
        self.pattern.as_ref().map(Pattern::names)
    }

    /// Skips all fields of `value` but these.
    pub(super) fn keep(&mut self, fields: Option<BTreeSet<String>>) {
        self.keep = fields;
    }

    /// Whether decoding needs the headers of records.
    pub(super) fn reads_headers(&self) -> bool {
        self.format == RecordFormat::Cloudevents
    }

    /// The bytes of a record's value, decompressed if they are gzip or zstd.
    ///
    /// # Errors
    /// If the compressed data is invalid or too large.
    pub(super) fn decompress<'a>(record: &InputRecord<'a>) -> Result<Cow<'a, [u8]>, String> {
        record
            .value
            .map_or(Ok(Cow::Borrowed(b"")), compression::decompress)
    }

    /// Decodes a record whose decompressed value is `bytes`.
    ///
    /// # Errors
    /// If the value is not of the format: the problem, and what it is instead, if known.
    pub(super) fn decode<'a>(
        &'a self,
        record: &'a InputRecord<'a>,
        bytes: &'a [u8],
    ) -> Result<BoxedValue<'a>, String> {
        if record.value.is_none() && self.format != RecordFormat::Cloudevents {
            return Ok(Box::new(cel::common::types::CelNull));
        }
        let keep = self.keep.as_ref();
        let decoded = match self.format {
            RecordFormat::Json => {
                json::unwrap(bytes, self.envelope).and_then(|json| json::value(json, keep))
            }
            RecordFormat::Cloudevents => cloud_event::value(record, bytes, keep),
            RecordFormat::Text => match &self.pattern {
                Some(pattern) => pattern.value(bytes),
                None => Err("there is no pattern".to_owned()),
            },
        };
        decoded.map_err(|problem| match wrapping(bytes) {
            Some(wrapping) => format!("{problem}; it looks like {wrapping}"),
            None => problem,
        })
    }
}

/// What a value that cannot be decoded looks like.
fn wrapping(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0, _, _, _, _, ..] => Some("Confluent's wire format, with a schema id in its first bytes"),
        [0xac, 0xed, ..] => Some("a serialized Java object"),
        _ => None,
    }
}
