//! HTTP clients and servers, and the tokens that they authenticate with.

pub mod authorities;
pub mod client;
pub mod server;
pub mod signing_keys;
pub mod tls;
pub mod token;
pub mod token_files;
mod waiting;
