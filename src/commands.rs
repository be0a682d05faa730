//! Commands of the command line: arguments and printing.

pub mod check;
pub mod crd;
mod deletion;
pub mod dlq;
pub mod end;
pub mod partitions;
pub mod policy;
pub mod produce;
pub mod schema;
pub mod sessions;
pub mod source;
pub mod state;
pub mod topics;
