//! `sundown demo`.

use std::time::Duration;

use crate::kafka::{Kafka, unique_prefix};
use crate::process::{Launch, Line, Process, Stream};

const SOON: Duration = Duration::from_secs(60);

/// The demo with timeouts as short as can be, and whatever `args` say.
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

/// Waits until sessions end for each of the reasons that the timeouts and users give.
fn wait_for_endings(demo: &Process) {
    for reason in ["idle_timeout", "absolute_timeout", "logout"] {
        demo.wait_for_line(SOON, has(&format!("ended: {reason}")));
    }
}

/// Ends the demo; what it came to.
fn stop(mut demo: Process) -> String {
    demo.sigterm();
    assert!(demo.wait(SOON).success());
    let stdout = demo.text(Stream::Stdout);
    stdout.lines().last().expect("a summary").to_owned()
}

#[test]
fn needs_nothing_and_lets_a_tracker_from_outside_join() {
    let demo = demo(&["--log", "info"]);
    demo.wait_for_line(SOON, has("without transactions"));
    demo.wait_for_line(SOON, has("has partitions"));
    wait_for_endings(&demo);
    // The handler's action, in its log.
    let acted = |line: &Line| line.stream == Stream::Stderr && line.text.contains("session ended");
    demo.wait_for_line(SOON, acted);

    let hint = demo.wait_for_line(SOON, has(" tracker -b ")).text;
    let mut words = hint.split_whitespace();
    assert_eq!(words.next(), Some(env!("CARGO_BIN_EXE_sundown")));
    let mut joins = Launch::sundown().args(words).start();
    let joined = joins.wait_for_line(SOON, |line| line.text.contains("restored"));
    assert_eq!(joined.stream, Stream::Stderr);
    // Four partitions: two trackers have two each until one of them gives one away.
    let one = |line: &Line| has("has partitions ")(line) && !line.text.contains(", ");
    demo.wait_for_line(SOON, one);
    joins.sigterm();
    assert!(joins.wait(SOON).success());
    demo.wait_for_line(SOON, |line| has(" left")(line));

    let summary = stop(demo);
    assert!(
        summary.contains(" events of ") && summary.contains(" idle_timeout"),
        "{summary}"
    );
}

#[test]
fn runs_on_a_kafka_that_is_there_with_transactions() {
    let kafka = Kafka::shared();
    let prefix = unique_prefix("demo");
    let demo = demo(&["-b", kafka.bootstrap(), "--topic-prefix", &prefix]);
    demo.wait_for_line(SOON, has("delivery is exactly-once"));
    wait_for_endings(&demo);
    stop(demo);
}

#[test]
fn ends_by_itself_when_its_time_is_up() {
    let mut demo = demo(&["--duration", "1s"]);
    assert!(demo.wait(SOON).success());
    assert!(demo.text(Stream::Stdout).contains("\nafter "));
}
