//! Threads that stand still.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::wait::eventually;

/// Longer than a thread may go without a heartbeat.
const LONG: Duration = Duration::from_secs(120);

#[test]
fn a_thread_that_stands_still_fails_liveness_by_name() {
    let installation = Installation::with_partitions(Kafka::shared(), SHORT, 1);
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("policies.yaml");
    fs::write(&file, POLICY).expect("a file");
    let tracker = installation.tracker(&["--policies", file.to_str().expect("UTF-8")]);
    tracker.await_ready();
    assert_eq!(tracker.liveness()["ok"], true);

    // Opening a pipe waits for its writer: as on storage that does not answer.
    let pipe = dir.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo").success());
    fs::rename(&pipe, &file).expect("the pipe replaces the file");
    eventually(LONG, "/livez to name the thread", || {
        let liveness = tracker.liveness();
        let reason = liveness["reasons"]["policy-file"].as_str()?;
        (liveness["ok"] == false && reason.contains("no heartbeat for")).then_some(())
    });

    // The thread goes on once the file can be read.
    let writer = fs::OpenOptions::new().write(true).open(&file);
    fs::write(&pipe, POLICY).expect("a file");
    fs::rename(&pipe, &file).expect("a file replaces the pipe");
    drop(writer);
    eventually(LONG, "/livez to pass", || {
        tracker.liveness()["ok"].as_bool().filter(|ok| *ok)
    });
    tracker.stop();
}

const POLICY: &str = "apiVersion: sundown.dev/v1alpha1
kind: SessionPolicy
metadata: {name: default}
spec: {idleTimeout: 1h}
";
