//! `sundown demo`.

use std::time::Duration;

use crate::console::client::Client;
use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::process::{Launch, Line, Process, Stream};
use crate::support::wait::eventually;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Starts the demo with the shortest timeouts and `args`.
fn demo(args: &[&str]) -> Process {
    Launch::sundown()
        .args([
            "demo",
            "--rate",
            "50",
            "--idle-timeout",
            "1s",
            "--absolute-timeout",
            "3s",
        ])
        .args(args)
        .start()
}

fn has(words: &str) -> impl Fn(&Line) -> bool {
    move |line| line.stream == Stream::Stdout && line.text.contains(words)
}

/// Waits for sessions to end for each reason.
fn wait_for_endings(demo: &Process) {
    for reason in ["idle_timeout", "absolute_timeout", "logout"] {
        demo.wait_for_line(TIMEOUT, has(&format!("ended: {reason}")));
    }
}

/// Waits until the console shows events and skipped lines of the website's access log, and no
/// others.
fn wait_for_access_log(demo: &Process) {
    let line = demo.wait_for_line(TIMEOUT, has("Console at http://")).text;
    let (_, address) = line.split_once("http://").expect("an address");
    let address = address.split('/').next().unwrap_or_default();
    let port = address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    let console = Client::new(port.expect("a port"));
    let topic = eventually(TIMEOUT, "the access log in the console", || {
        let sources = console.json("/api/v1/sources");
        let topic = &sources["sources"][0]["topics"][0];
        let is_read = |field: &str| topic[field].as_u64() > Some(0);
        (is_read("events") && is_read("skipped")).then(|| topic.clone())
    });
    assert_eq!(topic["dead_letters"], 0, "{topic}");
}

/// Stops the demo and returns its summary.
fn stop(mut demo: Process) -> String {
    demo.sigterm();
    assert!(demo.wait(TIMEOUT).success());
    let stdout = demo.text(Stream::Stdout);
    stdout.lines().last().expect("a summary").to_owned()
}

#[test]
fn the_demo_runs_without_kafka_and_another_tracker_can_join() {
    let demo = demo(&["--log", "info"]);
    demo.wait_for_line(TIMEOUT, has("without transactions"));
    demo.wait_for_line(TIMEOUT, has("has partitions"));
    wait_for_endings(&demo);
    wait_for_access_log(&demo);
    // The handler's log action.
    let logged = |line: &Line| line.stream == Stream::Stderr && line.text.contains("session ended");
    demo.wait_for_line(TIMEOUT, logged);

    let hint = demo.wait_for_line(TIMEOUT, has(" tracker -b ")).text;
    let mut words = hint.split_whitespace();
    assert_eq!(words.next(), Some(env!("CARGO_BIN_EXE_sundown")));
    let mut tracker = Launch::sundown().args(words).start();
    let restored = tracker.wait_for_line(TIMEOUT, |line| line.text.contains("restored"));
    assert_eq!(restored.stream, Stream::Stderr);
    // Two trackers have two of the four partitions each until one moves to the third.
    let one_partition = |line: &Line| has("has partitions ")(line) && !line.text.contains(", ");
    demo.wait_for_line(TIMEOUT, one_partition);
    tracker.sigterm();
    assert!(tracker.wait(TIMEOUT).success());
    demo.wait_for_line(TIMEOUT, |line| has(" stopped")(line));

    let summary = stop(demo);
    assert!(
        summary.contains(" events of ") && summary.contains(" idle_timeout"),
        "{summary}"
    );
}

#[test]
fn the_demo_on_an_existing_kafka_uses_transactions() {
    let kafka = Kafka::shared();
    let prefix = unique_prefix("demo");
    let demo = demo(&["-b", kafka.bootstrap(), "--topic-prefix", &prefix]);
    demo.wait_for_line(TIMEOUT, has("delivery is exactly-once"));
    wait_for_endings(&demo);
    wait_for_access_log(&demo);
    stop(demo);
}

#[test]
fn the_demo_ends_after_its_duration() {
    let mut demo = demo(&["--duration", "1s"]);
    assert!(demo.wait(TIMEOUT).success());
    assert!(demo.text(Stream::Stdout).contains("\nafter "));
}
