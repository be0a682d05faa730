//! Recognizes known formats in values that are not session events.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::IgnoredAny;

/// Bytes before the payload in Confluent's wire format: a zero and the schema id.
const CONFLUENT_FRAME: usize = 5;
/// The first bytes of gzip (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A format that wraps or replaces session events, and that a source can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// Five bytes with the id of a schema, then JSON, Avro or Protobuf.
    Confluent {
        /// The id of the schema in the registry.
        schema_id: u32,
    },
    /// Kafka Connect's `JsonConverter` with `schemas.enable=true`.
    ConnectEnvelope,
    /// CloudEvents 1.0 in structured mode.
    StructuredCloudEvent,
    /// Compressed by the application instead of the producer.
    Gzip,
    /// A user or admin event of Keycloak.
    KeycloakEvent,
}

impl fmt::Display for Wrapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confluent { schema_id } => {
                let header = "five bytes before the payload";
                write!(
                    f,
                    "Confluent's wire format ({header}, schema id {schema_id})"
                )
            }
            Self::ConnectEnvelope => f.write_str("Kafka Connect's schema/payload envelope"),
            Self::StructuredCloudEvent => f.write_str("a structured CloudEvent"),
            Self::Gzip => f.write_str("gzip"),
            Self::KeycloakEvent => f.write_str("a Keycloak event"),
        }
    }
}

/// Returns the format that `value` seems to have, if it is a known one.
pub(super) fn recognize(value: &[u8]) -> Option<Wrapping> {
    if value.starts_with(&GZIP_MAGIC) {
        return Some(Wrapping::Gzip);
    }
    if let Some((&[0, a, b, c, d], [_, ..])) = value.split_first_chunk::<CONFLUENT_FRAME>() {
        let schema_id = u32::from_be_bytes([a, b, c, d]);
        return Some(Wrapping::Confluent { schema_id });
    }
    let fields: BTreeMap<Cow<'_, str>, IgnoredAny> = serde_json::from_slice(value).ok()?;
    let has = |name: &str| fields.contains_key(name);
    if has("schema") && has("payload") {
        Some(Wrapping::ConnectEnvelope)
    } else if has("specversion") && has("type") {
        Some(Wrapping::StructuredCloudEvent)
    } else if has("realmId") && (has("type") || has("operationType")) {
        Some(Wrapping::KeycloakEvent)
    } else {
        None
    }
}
