//! Schemas as registries have them.

use std::collections::BTreeMap;

/// A schema as a registry has it.
#[derive(Clone, Debug)]
pub struct SchemaDefinition {
    pub kind: SchemaType,
    pub text: String,
    /// The schemas that it refers to, directly or not, by the names that it uses.
    pub references: BTreeMap<String, String>,
}

/// The language of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaType {
    Avro,
    Protobuf,
    Json,
}
