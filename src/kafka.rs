//! Everything that speaks Kafka.

pub mod args;
pub mod client;
pub mod credentials;
pub(crate) mod edges;
pub mod end_offsets;
pub mod event_writer;
pub mod follow;
pub mod group;
pub mod group_offsets;
pub mod names;
pub mod reader;
mod record;
pub mod renewing;
pub mod topics;
pub mod trouble;

pub use client::ConnectionArgs;
pub use names::{TopicArgs, Topics};
