//! Everything that speaks Kafka.

pub mod client;
pub mod names;
pub mod topics;

pub use client::ConnectionArgs;
pub use names::{TopicArgs, Topics};
