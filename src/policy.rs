//! Session policies: documents, records, the policy topic and pauses.

pub mod crd;
pub mod document;
pub mod file;
pub mod pause_writer;
pub mod pauses;
pub mod plan;
pub mod record;
pub mod rules;
pub mod store;
pub mod topic;
pub mod writer;
pub mod yaml;
