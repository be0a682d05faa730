//! TLS, SCRAM and permissions, on a Kafka that insists on them.
//!
//! Each role connects as the user whom the chart renders for it, with exactly the permissions
//! that the chart renders (`helm template`): they are enough, and without any single one of them
//! the role names the missing one. Without helm these tests are skipped, with a line on stderr;
//! with `SUNDOWN_TEST_REQUIRE_HELM` set they fail.

mod acls;
mod broker;
mod chart;
mod connections;
mod operator;
pub mod permissions;
mod scenes;
mod tokens;
