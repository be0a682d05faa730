//! `sundown check`.

use crate::support::installation::{Installation, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::process::Stream;

#[test]
fn sends_a_session_through_and_sees_it_end() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let mut check = installation.sundown(&["check"]).start();
    assert!(check.wait(SOON).success(), "{}", check.text(Stream::Stderr));
    let output = check.text(Stream::Stdout);
    assert!(
        output.contains(": logout under policy built-in"),
        "{output}"
    );
    tracker.stop();
}

#[test]
fn names_what_to_look_at_when_nothing_ends_it() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let mut check = installation.sundown(&["check", "--timeout", "1s"]).start();
    assert_eq!(check.wait(SOON).code(), Some(1));
    let output = check.text(Stream::Stderr);
    assert!(
        output.contains("did not end within 1s") && output.contains("check that a tracker runs"),
        "{output}"
    );
}
