//! `sundown schema`: JSON Schemas of what goes over the wire and into files.

use clap::ValueEnum;
use schemars::Schema;
use schemars::generate::SchemaSettings;

use crate::policy::document::SessionPolicy;
use crate::wire::event::schema::SessionEvent;
use crate::wire::terminal::{SessionEnded, SessionExpiring};

/// Of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subject {
    /// Session events, which applications write to `session_logs`
    Event,
    /// Terminal events in `expired_sessions`
    Ending,
    /// Warnings in `expiring_sessions`
    Expiring,
    /// Session policies, as they are written in YAML
    Policy,
}

/// The JSON Schema (draft 2020-12) of `subject`: what may be written to Sundown, and what
/// can be relied on when reading from it.
#[must_use]
pub fn schema(subject: Subject) -> Schema {
    let read = SchemaSettings::draft2020_12().into_generator();
    let written = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    match subject {
        Subject::Event => read.into_root_schema_for::<SessionEvent>(),
        Subject::Ending => written.into_root_schema_for::<SessionEnded>(),
        Subject::Expiring => written.into_root_schema_for::<SessionExpiring>(),
        Subject::Policy => read.into_root_schema_for::<SessionPolicy>(),
    }
}

/// Prints the schema of `subject`.
pub fn run(subject: Subject) {
    crate::output::line(format_args!("{:#}", schema(subject).to_value()));
}
