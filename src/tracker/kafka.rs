//! The tracker's Kafka clients.

pub mod commit_error;
pub mod commit_thread;
pub mod committer;
pub mod delivery_queue;
pub mod io;
pub mod restore_log;
pub mod restore_pool;
