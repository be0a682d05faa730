//! Sundown ends user sessions on time.

pub mod admin;
pub mod check;
pub mod cli;
pub mod clock;
pub mod console;
pub mod crd;
pub mod demo;
pub mod handler;
pub mod http;
pub mod kafka;
pub mod logout;
pub mod metrics;
pub mod output;
pub mod policy_file;
pub mod policy_record;
pub mod policy_topic;
pub mod process_report;
pub mod produce;
pub mod schema;
pub mod session;
pub mod shutdown;
pub mod telemetry;
pub mod topics;
pub mod tracker;
pub mod wire;
