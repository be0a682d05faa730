//! Session events: JSON in both directions.

mod attributes;
pub mod decode;
pub mod encode;
mod event_time;
mod fast_path;
mod fields;
pub mod schema;
mod wrapping;

pub use attributes::DroppedAttributes;
pub use decode::{DecodeError, DecodeLimits, Decoded, decode};
pub use wrapping::Wrapping;
