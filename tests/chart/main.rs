//! The Helm chart: generated parts in step with the code, and what it renders.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and says what it saw"
)]

mod cluster;
mod dashboards;
mod generated;
mod helm;
mod manifests;
mod monitoring;
mod notes;
mod platforms;
mod rendered;
