//! `sundown schema`: JSON Schemas of the wire and file formats.

use clap::ValueEnum;
use schemars::Schema;
use schemars::generate::SchemaSettings;

use crate::policy::document::SessionPolicy;
use crate::wire::event::schema::SessionEventSchema;
use crate::wire::terminal::{SessionEnded, SessionExpiring};

/// The formats with a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaFormat {
    /// Session events in `session_logs`, written by applications
    Event,
    /// Terminal events in `expired_sessions`
    Ending,
    /// Warnings in `expiring_sessions`
    Expiring,
    /// Session policies in YAML files
    Policy,
}

/// Returns the JSON Schema (draft 2020-12) of `format`: the deserialization schema of inputs,
/// the serialization schema of outputs.
#[must_use]
pub fn schema(format: SchemaFormat) -> Schema {
    let input = SchemaSettings::draft2020_12().into_generator();
    let output = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    match format {
        SchemaFormat::Event => input.into_root_schema_for::<SessionEventSchema>(),
        SchemaFormat::Ending => output.into_root_schema_for::<SessionEnded>(),
        SchemaFormat::Expiring => output.into_root_schema_for::<SessionExpiring>(),
        SchemaFormat::Policy => input.into_root_schema_for::<SessionPolicy>(),
    }
}

/// Prints the JSON Schema of `format`.
pub fn run(format: SchemaFormat) {
    crate::output::line(format_args!("{:#}", schema(format).to_value()));
}
