//! From the bytes of a record to the variable `value`.

pub(super) mod avro;
mod cloud_event;
mod compression;
mod confluent;
mod json;
mod problem;
pub(super) mod protobuf;
mod text;
mod value;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) use self::problem::RecordProblem;
use self::text::Pattern;
use self::value::BoxedValue;
use super::record::InputRecord;
use super::registry::schemas::{Schemas, WriterSchema};
use super::spec::{Envelope, RecordFormat, SchemaRegistry, SessionSourceSpec};

/// Decodes the records of one source.
#[derive(Debug)]
pub(super) struct Decoder {
    format: RecordFormat,
    envelope: Option<Envelope>,
    pattern: Option<Pattern>,
    /// The schemas of formats that need them.
    schemas: Option<Arc<Schemas>>,
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
            schemas: registry(spec)?.map(Schemas::new).map(Arc::new),
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

    /// The schemas that records name, if decoding needs them.
    pub(super) fn schemas(&self) -> Option<&Arc<Schemas>> {
        self.schemas.as_ref()
    }

    /// The schema of a record whose decompressed value is `bytes`, if decoding needs one.
    ///
    /// # Errors
    /// If it has not been fetched, or is unusable.
    pub(super) fn writer_schema(
        &self,
        record: &InputRecord<'_>,
        bytes: &[u8],
    ) -> Result<Option<Arc<WriterSchema>>, RecordProblem> {
        match (&self.schemas, record.value) {
            (Some(schemas), Some(_)) => {
                confluent::writer_schema(bytes, self.format, schemas).map(Some)
            }
            _ => Ok(None),
        }
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

    /// Decodes a record whose decompressed value is `bytes`, with its [`Self::writer_schema`].
    ///
    /// # Errors
    /// If the value is not of the format: the problem, and what it is instead, if known.
    pub(super) fn decode<'a>(
        &'a self,
        record: &'a InputRecord<'a>,
        bytes: &'a [u8],
        schema: Option<&'a WriterSchema>,
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
            RecordFormat::Avro | RecordFormat::Protobuf | RecordFormat::JsonSchema => {
                return framed(bytes, schema, keep);
            }
        };
        decoded.map_err(|problem| match wrapping(bytes) {
            Some(wrapping) => format!("{problem}; it looks like {wrapping}"),
            None => problem,
        })
    }
}

/// Decodes Confluent's wire format.
fn framed<'a>(
    bytes: &'a [u8],
    schema: Option<&'a WriterSchema>,
    keep: Option<&BTreeSet<String>>,
) -> Result<BoxedValue<'a>, String> {
    let (_, data) = confluent::split(bytes)?;
    match schema {
        Some(WriterSchema::Avro(schema)) => avro::value(schema, data, keep),
        Some(WriterSchema::Protobuf(schema)) => protobuf::value(schema, data, keep),
        Some(WriterSchema::Json) | None => json::value(data, keep),
    }
}

/// The registry of a source's schemas, if decoding needs them.
fn registry(spec: &SessionSourceSpec) -> Result<Option<SchemaRegistry>, (&'static str, String)> {
    let format = spec.format.as_str();
    match &spec.schema_registry {
        None if spec.format.needs_registry() => {
            let problem = format!("is missing: format {format} needs the url of a registry");
            Err(("spec.schemaRegistry", problem))
        }
        Some(_) if !spec.format.names_schema() => {
            let problem = format!("does not apply to format {format}: remove it, or set format");
            Err(("spec.schemaRegistry", problem))
        }
        Some(registry) if registry.has_login() => {
            let problem = "has credentials: name them in credentialsSecret instead";
            Err(("spec.schemaRegistry.url", problem.to_owned()))
        }
        Some(registry) if spec.format.needs_registry() => Ok(Some(registry.clone())),
        // JSON has the names of its fields.
        Some(_) | None => Ok(None),
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
