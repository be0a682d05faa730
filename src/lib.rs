//! Sundown ends user sessions on time.

pub mod cli;
pub mod clock;
pub mod kafka;
pub mod output;
pub mod session;
pub mod shutdown;
pub mod telemetry;
pub mod topics;
pub mod wire;
