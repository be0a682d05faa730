//! Session sources: which topics carry session events in other formats, and how to map them.
//!
//! | part | file |
//! |---|---|
//! | the document, and the resource in Kubernetes | `document.rs`, `spec.rs` |
//! | validation by Kubernetes | `validation.rs` |
//! | streams of YAML documents, files and directories | `yaml.rs`, `file.rs` |
//! | all sources of an installation, in the policy topic | `set.rs`, `topic.rs` |
//! | formats: from the bytes of a record to `value` | `decode.rs`, `decode/` |
//! | schemas of a registry | `registry.rs`, `registry/` |
//! | CEL expressions, checked when they are compiled | `expression.rs`, `check.rs`, `functions.rs` |
//! | from a record to a session event | `mapping.rs`, `event.rs` |

mod check;
mod decode;
pub mod document;
mod event;
pub mod expression;
pub mod file;
mod functions;
pub mod mapping;
pub mod record;
pub mod registry;
pub mod set;
pub mod spec;
pub mod topic;
mod validation;
pub mod yaml;
