//! Session events: JSON in both directions.

mod attributes;
pub mod decode;
mod decode_error;
pub mod encode;
mod event_time;
mod fast_path;
mod fields;
mod initiator;
pub mod schema;
mod subject;
mod wrapping;

pub use attributes::DroppedAttributes;
pub use decode::{DecodeLimits, Decoded, decode};
pub use decode_error::DecodeError;
pub use wrapping::Wrapping;
