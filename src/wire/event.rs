//! Session events: JSON in both directions.

pub mod decode;
pub mod encode;
mod fast_path;
mod fields;
pub mod schema;

pub use decode::{DecodeError, Decoded, decode};
