//! Trackers without faults.

use std::time::Duration;

use crate::support::installation::{Installation, PARTITIONS, SHORT};
use crate::support::kafka::Kafka;
use crate::support::population::Population;

/// Users act for a while, then the topic falls silent.
fn act_and_fall_silent(trackers: usize) {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let trackers: Vec<_> = (0..trackers).map(|_| installation.tracker(&[])).collect();
    trackers.iter().for_each(|tracker| tracker.await_ready());

    let mut users = Population::new(1, 60, PARTITIONS, SHORT);
    let writer = installation.kafka.writer();
    users.act(
        Duration::from_secs(10),
        &writer,
        &installation.session_logs(),
    );

    let expected = installation.verify();
    for reason in ["idle_timeout", "absolute_timeout", "logout", "revoked"] {
        let ended = expected
            .endings
            .iter()
            .any(|ending| ending.reason == reason);
        assert!(ended, "the users have not made a session end by {reason}");
    }
    for tracker in trackers {
        tracker.stop();
    }
    expected.compare(installation.endings());
}

#[test]
fn one_tracker_ends_every_session_once() {
    act_and_fall_silent(1);
}

#[test]
fn three_trackers_end_every_session_once() {
    act_and_fall_silent(3);
}
