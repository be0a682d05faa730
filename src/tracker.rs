//! The tracker: works out when sessions are over.

pub mod clocks;
pub mod engine;
pub mod murmur2;
pub mod offset_metadata;
pub mod outbox;
pub mod partition;
pub mod record;
pub mod restore;
