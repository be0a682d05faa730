//! Checks and unit tests of the alert rules with `promtool`.

use std::process::Command;

use super::prometheus::installed;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/charts/sundown/files/alerts.yaml"
);
const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/monitoring/alerts.yaml");
const TESTS_OF_SLOW_SCRAPES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/monitoring/alerts-60s.yaml"
);

fn promtool(arguments: &[&str]) {
    let output = Command::new(installed("promtool")).args(arguments).output();
    let output = output.expect("promtool runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
}

#[test]
fn promtool_finds_nothing_wrong() {
    promtool(&["check", "rules", FILE]);
}

#[test]
fn alerts_wait_and_go_as_they_should() {
    promtool(&["test", "rules", TESTS]);
    promtool(&["test", "rules", TESTS_OF_SLOW_SCRAPES]);
}
