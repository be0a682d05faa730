//! The tracker's Kafka clients.

pub mod commit_thread;
pub mod committer;
pub mod io;
pub mod restore_log;
pub mod restore_pool;
