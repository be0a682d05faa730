//! Sundown ends user sessions on time.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod handler;
pub mod http;
pub mod kafka;
pub mod metrics;
pub mod output;
pub mod session;
pub mod shutdown;
pub mod telemetry;
pub mod wire;
