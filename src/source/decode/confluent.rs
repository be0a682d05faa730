//! Confluent's wire format: a zero, the id of the schema in four bytes, then the data.

use std::sync::Arc;

use crate::source::registry::schemas::{Schemas, WriterSchema};
use crate::source::spec::RecordFormat;

use super::problem::RecordProblem;

/// The bytes before the data.
pub(super) const FRAME_BYTES: usize = 5;

/// Returns the id of the schema and the data.
pub(super) fn split(bytes: &[u8]) -> Result<(u32, &[u8]), String> {
    match bytes {
        [0, a, b, c, d, data @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), data)),
        [0, ..] | [] => Err(format!(
            "not Confluent's wire format: it has {} bytes, fewer than the {FRAME_BYTES} of a schema id",
            bytes.len()
        )),
        [first, ..] => Err(format!(
            "not Confluent's wire format: it begins with the byte {first}, not with 0 and a schema id"
        )),
    }
}

/// The schema that a record of `format` names.
pub(super) fn writer_schema(
    bytes: &[u8],
    format: RecordFormat,
    schemas: &Schemas,
) -> Result<Arc<WriterSchema>, RecordProblem> {
    let (id, _) = split(bytes)?;
    let schema = schemas.get(id)??;
    let is_of_format = match *schema {
        WriterSchema::Avro(_) => format == RecordFormat::Avro,
        WriterSchema::Protobuf(_) => format == RecordFormat::Protobuf,
        WriterSchema::Json => format == RecordFormat::JsonSchema,
    };
    if is_of_format {
        return Ok(schema);
    }
    let kind = match *schema {
        WriterSchema::Avro(_) => "Avro",
        WriterSchema::Protobuf(_) => "Protobuf",
        WriterSchema::Json => "JSON Schema",
    };
    let format = format.as_str();
    let problem = format!("schema {id} is {kind}, and the source's format is {format}");
    Err(problem.into())
}
