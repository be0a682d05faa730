//! Schemas of registries, and records that name them.

use serde_json::json;
use sundown::source::registry::definition::{SchemaDefinition, SchemaType};

use super::first_line;
use super::sources::{map, mapping};

/// The first line is `avro`, `protobuf` or `jsonSchema`; then follow the schema up to a line with `--`, and
/// the bytes of the record behind the number of the schema.
pub(super) fn registry_schema(data: &[u8]) {
    let (format, rest) = first_line(data);
    let kind = match format {
        b"avro" => SchemaType::Avro,
        b"protobuf" => SchemaType::Protobuf,
        b"jsonSchema" => SchemaType::Json,
        _ => return,
    };
    let end = rest.windows(4).position(|bytes| bytes == b"\n--\n");
    let (text, record) = match end {
        Some(end) => (&rest[..end], &rest[end + 4..]),
        None => (rest, &[][..]),
    };
    let mapping = mapping(&json!({
        "format": String::from_utf8_lossy(format),
        "schemaRegistry": {"url": "http://127.0.0.1:9"},
        "session": {"id": "string(value.id)", "user": "value.user", "attributes": {"all": "string(value.tags)"}},
    }));
    // Records in JSON decode without it.
    if let Some(schemas) = mapping.schemas() {
        schemas.add(
            0,
            &SchemaDefinition {
                kind,
                text: String::from_utf8_lossy(text).into_owned(),
                references: [].into(),
            },
        );
    }
    // Confluent's frame: a zero, and the number of the schema in four bytes.
    let value = [&[0; 5], record].concat();
    map(&mapping, b"key", &value);
}
