//! Wire formats: conversions between records and the types of the session core.
//!
//! `docs/reference/events.md` describes each format; `sundown schema` prints their JSON Schemas.

pub mod dead_letter;
pub mod duration;
pub mod end_reason;
pub mod event;
pub mod forwarded;
pub mod layout;
pub mod partitioner;
pub mod record;
pub mod routing;
pub mod terminal;
pub mod time;
pub mod watermark;
