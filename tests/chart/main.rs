//! The Helm chart: generated parts match the code, and rendered objects.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed test panics with what it observed"
)]

mod authentication;
mod cluster;
mod dashboards;
mod extensions;
mod generated;
mod helm;
mod manifests;
mod monitoring;
mod notes;
mod objects;
mod platforms;
mod rendered;
mod strimzi;
