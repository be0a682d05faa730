//! The validation of sources by Kubernetes, and its messages. The controller checks expressions.

use kube::core::cel::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::expression::MAX_EXPRESSION_BYTES;

/// The most topics of a source.
const MAX_TOPICS: u32 = 64;
/// The longest name of a topic that Kafka accepts.
const MAX_TOPIC_CHARS: u32 = 249;
/// The most attributes of a session.
const MAX_ATTRIBUTES: u32 = 64;

/// `spec.topics`.
pub(super) fn topics(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_TOPICS,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_TOPIC_CHARS,
            "pattern": "^[a-zA-Z0-9._-]+$",
        },
        "x-kubernetes-list-type": "set",
    })
}

/// `spec.session.attributes`.
pub(super) fn attributes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_ATTRIBUTES,
        "additionalProperties": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_EXPRESSION_BYTES,
        },
    })
}

/// `spec.session.id` or `spec.session.user`.
pub(super) fn id_or_user() -> Rule {
    Rule::new("has(self.id) || has(self.user)")
        .message("id or user is needed to find sessions: add the expression of one of them")
}

/// Either `spec.topics` or `spec.topicPattern`.
pub(super) fn topics_or_pattern() -> Rule {
    Rule::new("has(self.topics) != has(self.topicPattern)")
        .message("a source needs either topics or topicPattern: name the topics to read")
}

/// `spec.pattern` with format `text`.
pub(super) fn pattern_of_text() -> Rule {
    Rule::new("!has(self.format) || self.format != 'text' || has(self.pattern)").message(
        "format text needs pattern: a regular expression with named groups, as in (?<path>\\S+)",
    )
}

/// `spec.pattern` with no other format.
pub(super) fn pattern_of_text_only() -> Rule {
    Rule::new("!has(self.pattern) || has(self.format) && self.format == 'text'")
        .message("pattern applies to format text only: remove it, or set format: text")
        .field_path(".pattern")
}

/// `spec.envelope` with format `json`.
pub(super) fn envelope_of_json() -> Rule {
    Rule::new("!has(self.envelope) || !has(self.format) || self.format == 'json'")
        .message("envelope applies to format json only: remove it")
        .field_path(".envelope")
}

/// `spec.schemaRegistry` with formats that need it.
pub(super) fn registry_of_schemas() -> Rule {
    Rule::new(
        "!has(self.format) || !(self.format in ['avro', 'protobuf']) || has(self.schemaRegistry)",
    )
    .message("formats avro and protobuf need schemaRegistry: add the url of the registry")
}

/// `spec.schemaRegistry` with no other formats.
pub(super) fn registry_of_schemas_only() -> Rule {
    Rule::new("!has(self.schemaRegistry) || has(self.format) && self.format in ['avro', 'protobuf', 'jsonSchema']")
        .message("schemaRegistry applies to formats avro, protobuf and jsonSchema only: remove it, or set format")
        .field_path(".schemaRegistry")
}
