//! What goes over the wire: bytes and headers to and from the core's types.
//!
//! docs/events.md describes each format; `sundown schema` prints their JSON Schemas.

pub mod dead_letter;
pub mod duration;
pub mod event;
pub mod partitioner;
pub mod record;
pub mod terminal;
pub mod time;
