//! Schemas of a registry with Confluent's API.
//!
//! Decoding a record never waits for the registry: a schema that is not known yet is an error of
//! its own ([`MissingSchema`](schemas::MissingSchema)). The caller fetches it, and maps the record
//! again.
//!
//! | part | file |
//! |---|---|
//! | requests | `client.rs` |
//! | who may ask | `credentials.rs` |
//! | what they return | `definition.rs` |
//! | compiled schemas by id | `schemas.rs` |

pub mod client;
pub mod credentials;
pub mod definition;
pub mod schemas;
