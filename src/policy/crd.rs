//! The `SessionPolicy` resource.

pub mod definition;
pub mod spec;
pub mod status;
pub mod validation;
