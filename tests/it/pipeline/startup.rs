//! Conditions that prevent the start of a tracker, and their messages.

use std::fs;

use tempfile::NamedTempFile;

use crate::support::installation::{Installation, SHORT, SOON};
use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::process::{Launch, Stream};
use crate::support::role::RoleProcess;

/// No process listens there.
const NOWHERE: [&str; 2] = ["-b", "127.0.0.1:1"];

/// The exit code and the standard error of a tracker that cannot start.
fn refusal(launch: Launch) -> (Option<i32>, String) {
    let mut process = launch.start();
    let status = process.wait(SOON);
    (status.code(), process.text(Stream::Stderr))
}

fn assert_refusal(launch: Launch, code: i32, words: &[&str]) {
    let (exit, error) = refusal(launch);
    assert_eq!(exit, Some(code), "{error}");
    for word in words {
        assert!(error.contains(word), "'{word}' is not in: {error}");
    }
}

#[test]
fn missing_topics_are_named_with_the_command_that_creates_them_and_waited_for() {
    let kafka = Kafka::shared();
    let prefix = unique_prefix("startup");
    let flags = ["-b", kafka.bootstrap(), "--topic-prefix", &prefix];
    let tracker = RoleProcess::start(Launch::sundown().arg("tracker").args(flags));
    let logs = format!("{prefix}session_logs");
    let policies = format!("{prefix}sundown.policies");
    for words in ["missing topics", &logs, &policies, "sundown topics create"] {
        tracker.await_unready("kafka", words);
    }
    let create = Launch::sundown().args(["topics", "create"]).args(flags);
    assert!(create.start().wait(SOON).success());
    tracker.await_ready();
    tracker.stop();
}

#[test]
fn a_checkpoint_topic_of_another_size_is_refused() {
    let kafka = Kafka::shared();
    let prefix = unique_prefix("startup");
    let checkpoint = format!("{prefix}sundown.checkpoint");
    kafka.create_topic(&checkpoint, 4, &[("cleanup.policy", "compact")]);
    let flags = ["-b", kafka.bootstrap(), "--topic-prefix", &prefix];
    let mut create = Launch::sundown()
        .args(["topics", "create"])
        .args(flags)
        .start();
    assert!(create.wait(SOON).success());
    let words = [&checkpoint, "4 partitions", "3", "grow --partitions 4"];
    assert_refusal(Launch::sundown().arg("tracker").args(flags), 1, &words);
}

#[test]
fn a_tracker_waits_for_brokers_with_a_notice_and_stops_when_asked() {
    let tracker = RoleProcess::start(Launch::sundown().arg("tracker").args(NOWHERE));
    tracker.await_unready("kafka", "topics");
    tracker.await_message("cannot find the topics; retrying");
    tracker.stop();
}

#[test]
fn bad_policies_are_reported_before_anything_is_waited_for() {
    let file = NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path in UTF-8");
    let tracker = || {
        let flags = ["tracker", "--policies", path];
        Launch::sundown().args(flags).args(NOWHERE)
    };
    fs::write(
        file.path(),
        "apiVersion: sundown.dev/v1alpha1
kind: SessionPolicy
metadata: {name: acme}
spec: {idleTimeout: 0s}
",
    )
    .expect("the file is written");
    assert_refusal(
        tracker(),
        1,
        &[path, "acme", "idleTimeout", "more than zero"],
    );
    fs::remove_file(file.path()).expect("the file is removed");
    assert_refusal(tracker(), 1, &[path, "No such file", "--policies"]);
}

#[test]
fn flags_that_make_no_sense_are_usage_errors() {
    for (flags, word) in [
        (["--idle-timeout", "soon"], "use a format such as"),
        (["--idle-timeout", "0s"], "more than zero"),
        (["--delivery", "perhaps"], "exactly-once"),
        (["--group-protocol", "raft"], "classic"),
        (["--max-sessions", "many"], "--max-sessions"),
        (["-X", "novalue"], "KEY=VALUE"),
        (["--no-such", "flag"], "--no-such"),
    ] {
        let launch = Launch::sundown().arg("tracker").args(NOWHERE).args(flags);
        assert_refusal(launch, 2, &[word]);
    }
}

#[test]
fn properties_that_librdkafka_does_not_know_are_named() {
    let launch = Launch::sundown().arg("tracker").args(NOWHERE);
    assert_refusal(
        launch.args(["-X", "no.such.property=1"]),
        1,
        &["no.such.property"],
    );
}

#[test]
fn a_second_signal_ends_a_tracker_on_the_spot() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let mut tracker = installation.tracker(&[]);
    tracker.await_ready();
    // Frozen, so that it takes both at once.
    tracker.process.sigstop();
    tracker.process.sigterm();
    tracker.process.sigint();
    tracker.process.sigcont();
    let status = tracker.process.wait(SOON);
    // As a shell reports a process that SIGTERM has ended.
    assert_eq!(status.code(), Some(143));
}
