//! Trackers without faults.

use std::time::Duration;

use crate::support::installation::{Installation, PARTITIONS, SHORT};
use crate::support::kafka::Kafka;
use crate::support::model;
use crate::support::population::Population;

const REASONS: [&str; 4] = ["idle_timeout", "absolute_timeout", "logout", "revoked"];
/// How long users act before the log is examined for [`REASONS`] again.
const ROUND: Duration = Duration::from_secs(10);
/// How many users reach the absolute timeout depends on the speed of the machine.
const ROUNDS: usize = 6;

/// Users act until a session has to end for each reason, then the topic falls silent.
fn act_and_fall_silent(trackers: usize) {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let trackers: Vec<_> = (0..trackers).map(|_| installation.tracker(&[])).collect();
    trackers.iter().for_each(|tracker| tracker.await_ready());

    let mut users = Population::new(1, 60, PARTITIONS, SHORT);
    let writer = installation.kafka.writer();
    let every_reason = (0..ROUNDS).any(|_| {
        users.act(ROUND, &writer, &installation.session_logs());
        let endings = model::expected(&installation.log(), SHORT).endings;
        REASONS
            .iter()
            .all(|reason| endings.iter().any(|ending| ending.reason == *reason))
    });
    assert!(every_reason, "no session has to end for one of {REASONS:?}");

    let expected = installation.verify();
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
