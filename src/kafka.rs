//! Kafka clients: readers, group members, producers and topic administration.

pub mod args;
pub mod client;
pub mod connection_error;
pub mod connection_health;
pub mod credentials;
pub mod end_offsets;
pub(crate) mod end_proof;
pub mod errors;
pub mod event_writer;
pub mod group;
pub mod group_offsets;
pub mod headers;
mod leader_lookup;
pub mod leaders;
pub(crate) mod list_offsets;
pub mod oauth;
pub mod property;
pub mod proven_ends;
pub mod reader_config;
mod record;
pub mod recreating_client;
pub mod recreating_producer;
pub mod topic_feed;
pub mod topic_ids;
pub mod topic_names;
pub mod topic_reader;
pub mod topics;
pub mod transaction;
mod trust;
pub mod upstream;

pub use client::ConnectionArgs;
pub use topic_names::{TopicArgs, Topics};
pub use trust::certificate_files;
