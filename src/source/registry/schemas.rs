//! The schemas of one source, compiled, by their ids.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::definition::{SchemaDefinition, SchemaType};
use crate::source::decode::avro::AvroSchema;
use crate::source::decode::protobuf::ProtobufSchema;
use crate::source::spec::SchemaRegistry;

/// Limit on the schemas that are kept; beyond it, all are fetched again as they are needed.
const MAX_SCHEMAS: usize = 10_000;

/// A schema to decode records with.
#[derive(Debug)]
pub(in crate::source) enum WriterSchema {
    Avro(AvroSchema),
    Protobuf(ProtobufSchema),
    /// JSON decodes without it.
    Json,
}

/// The schemas that have been fetched, or why one cannot be used.
type Known = HashMap<u32, Result<Arc<WriterSchema>, String>>;

/// The schemas of a registry that records of one source have named so far.
#[derive(Debug)]
pub struct Schemas {
    registry: SchemaRegistry,
    known: RwLock<Known>,
}

/// A schema that has not been fetched yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("schema {0} has not been fetched from the schema registry")]
pub struct MissingSchema(pub u32);

impl Schemas {
    /// Starts without schemas.
    #[must_use]
    pub fn new(registry: SchemaRegistry) -> Self {
        Self {
            registry,
            known: RwLock::default(),
        }
    }

    /// Where to fetch schemas.
    #[must_use]
    pub fn registry(&self) -> &SchemaRegistry {
        &self.registry
    }

    /// Whether the schema has been fetched, or found to be unusable.
    #[must_use]
    pub fn contains(&self, id: u32) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.contains_key(&id)
    }

    /// Compiles a fetched schema. One that cannot be compiled is unusable.
    pub fn add(&self, id: u32, definition: &SchemaDefinition) {
        let compiled = match definition.kind {
            SchemaType::Avro => AvroSchema::parse(definition).map(WriterSchema::Avro),
            SchemaType::Protobuf => ProtobufSchema::parse(definition).map(WriterSchema::Protobuf),
            SchemaType::Json => Ok(WriterSchema::Json),
        };
        let compiled = compiled.map_err(|problem| format!("schema {id}: {problem}"));
        self.insert(id, compiled.map(Arc::new));
    }

    /// Marks a schema as unusable: records that name it are dead letters with this reason.
    pub fn add_unusable(&self, id: u32, problem: String) {
        self.insert(id, Err(problem));
    }

    /// Forgets a schema, so that it is fetched again.
    pub fn forget(&self, id: u32) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.remove(&id);
    }

    /// The schema, or why it cannot be used.
    pub(in crate::source) fn get(
        &self,
        id: u32,
    ) -> Result<Result<Arc<WriterSchema>, String>, MissingSchema> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&id).cloned().ok_or(MissingSchema(id))
    }

    fn insert(&self, id: u32, schema: Result<Arc<WriterSchema>, String>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_SCHEMAS {
            known.clear();
        }
        known.insert(id, schema);
    }
}
