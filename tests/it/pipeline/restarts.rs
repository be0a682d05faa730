//! Periods without a running tracker.

use std::thread;
use std::time::Duration;

use crate::support::installation::{Installation, PARTITIONS, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::population::Population;
use crate::support::process::Stream;
use crate::support::role::RoleProcess;

/// Longer than the idle timeout and the allowed lateness together.
const DOWNTIME: Duration = Duration::from_secs(6);

#[test]
fn stopped_and_started_again_nothing_ends_twice_and_nothing_is_forgotten() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let trackers = [installation.tracker(&[]), installation.tracker(&[])];
    trackers.iter().for_each(RoleProcess::await_ready);
    let mut users = Population::new(4, 60, PARTITIONS, SHORT);
    let writer = installation.kafka.writer();
    users.act(
        Duration::from_secs(5),
        &writer,
        &installation.session_logs(),
    );
    trackers.into_iter().for_each(RoleProcess::stop);
    assert!(
        !installation.checkpoints().is_empty(),
        "sessions still live"
    );

    // The topic is silent: what is to come is known from checkpoints and replay alone.
    let tracker = installation.tracker(&[]);
    let expected = installation.verify();
    tracker.stop();

    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    installation.await_caught_up();
    tracker.stop();
    let probes = installation.verify_now();
    assert_eq!(
        probes.endings.len(),
        expected.endings.len() + PARTITIONS as usize,
        "the probes alone have been added"
    );
}

/// No active user is logged out, however long no tracker runs.
fn away_while_users_are_active(installation: &Installation<'_>, stop: impl Fn(RoleProcess)) {
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let mut users = Population::new(5, 60, PARTITIONS, installation.limits);
    let writer = installation.kafka.writer();
    let topic = installation.session_logs();
    users.act(Duration::from_secs(3), &writer, &topic);
    stop(tracker);
    users.act(DOWNTIME, &writer, &topic);
    let tracker = installation.tracker(&[]);
    users.act(Duration::from_secs(3), &writer, &topic);
    let expected = installation.verify();
    tracker.stop();
    expected.compare(installation.endings());
}

/// Without a limit to their whole length, so that there are sessions which outlast the downtime.
const NO_ABSOLUTE: Limits = Limits {
    absolute: None,
    ..SHORT
};

#[test]
fn users_who_are_active_while_no_tracker_runs_stay_logged_in() {
    let installation = Installation::new(Kafka::shared(), NO_ABSOLUTE);
    away_while_users_are_active(&installation, RoleProcess::stop);
}

#[test]
fn users_who_are_active_after_the_last_tracker_was_killed_stay_logged_in() {
    let limits = Limits {
        // The log does not contain the time at which it was written.
        lateness: 3_000,
        ..NO_ABSOLUTE
    };
    let installation = Installation::with_create_time(Kafka::shared(), limits);
    away_while_users_are_active(&installation, RoleProcess::kill);
}

/// It is about to take over its transactional id, which takes librdkafka half a minute to give
/// up. If it has just got it, it stops in peace.
#[test]
fn a_tracker_that_no_broker_answers_stops_all_the_same() {
    let kafka = Kafka::own(1);
    let installation = Installation::new(&kafka, SHORT);
    let mut tracker = installation.tracker(&[]);
    tracker.await_message("active policies changed");
    kafka.stop(1);
    tracker.process.sigterm();
    let status = tracker.process.wait(Duration::from_secs(10));
    let said = tracker.process.text(Stream::Stderr);
    let gave_up = said.contains("shutdown timed out after 4.5 s");
    assert_eq!(status.success(), !gave_up, "{status}: {said}");
    kafka.cont(1);
}

#[test]
fn a_tracker_that_was_frozen_does_no_harm_when_it_goes_on() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    // Often in a transaction, so that it is likely to freeze in one.
    let flags = ["--commit-interval", "20ms", "--session-timeout", "2s"];
    let mut frozen = installation.tracker(&flags);
    let other = installation.tracker(&flags);
    frozen.await_ready();
    other.await_ready();
    thread::scope(|scope| {
        let users = scope.spawn(|| {
            let mut users = Population::new(6, 60, PARTITIONS, SHORT);
            let writer = installation.kafka.writer();
            users.act(
                Duration::from_secs(14),
                &writer,
                &installation.session_logs(),
            );
        });
        for _ in 0..2 {
            thread::sleep(Duration::from_secs(2));
            let before = other.metric("sundown_tracker_rebalances_total", "assigned");
            frozen.process.sigstop();
            other.await_metric("sundown_tracker_rebalances_total", "assigned", before + 1);
            frozen.process.sigcont();
        }
        users.join().expect("the users do as they should");
    });
    let expected = installation.verify();
    frozen.stop();
    other.stop();
    expected.compare(installation.endings());
}

#[test]
fn new_credentials_are_reloaded_without_a_restart() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let password = tempfile::NamedTempFile::new().expect("a file");
    let path = password.path().to_str().expect("UTF-8");
    let tracker = installation.tracker(&["--sasl-password-file", path]);
    tracker.await_ready();
    std::fs::write(path, "renewed").expect("written");
    tracker.await_message("credential files changed");
    tracker.await_message("stopped");
    let mut check = installation.sundown(&["check"]).start();
    assert!(check.wait(SOON).success(), "{}", check.text(Stream::Stderr));
    tracker.stop();
}
