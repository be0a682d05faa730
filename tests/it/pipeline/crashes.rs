//! Crashes of trackers and brokers.

use std::thread;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::installation::{Installation, PARTITIONS, SHORT};
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::population::Population;
use crate::support::role::RoleProcess;

/// While users act, trackers are killed at any moment, stopped and started.
#[test]
fn trackers_killed_again_and_again_end_every_session_once() {
    const SECONDS: u64 = 30;
    let installation = Installation::new(Kafka::shared(), SHORT);
    // Transactions that are open most of the time, so that kills hit them.
    let flags = ["--commit-interval", "20ms"];
    let mut trackers: Vec<RoleProcess> = (0..2).map(|_| installation.tracker(&flags)).collect();
    trackers.iter().for_each(|tracker| tracker.await_ready());

    let mut kills = 0;
    thread::scope(|scope| {
        let users = scope.spawn(|| {
            let writer = installation.kafka.writer();
            Population::new(2, 40, PARTITIONS, SHORT).act(
                Duration::from_secs(SECONDS),
                &writer,
                &installation.session_logs(),
            );
        });
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        while !users.is_finished() {
            thread::sleep(Duration::from_millis(rng.random_range(500..4_000)));
            let victim = trackers.swap_remove(rng.random_range(0..trackers.len()));
            if rng.random_ratio(3, 4) {
                // What is uncommitted now stays so: a transaction was open.
                victim.kill_when(|| installation.aborted_records() > 0);
                kills += 1;
            } else {
                victim.stop();
            }
            while trackers.is_empty() || rng.random_ratio(1, 3) {
                trackers.push(installation.tracker(&flags));
            }
        }
    });
    assert!(kills >= 5, "only {kills} kills");
    assert!(
        installation.aborted_records() > 0,
        "no kill has hit a transaction"
    );
    let expected = installation.verify();
    trackers.into_iter().for_each(RoleProcess::stop);
    expected.compare(installation.endings());
}

#[test]
fn a_broker_killed_and_started_again_costs_no_session_and_one_that_stays_away_is_reported() {
    // What happens while the broker is away cannot be written: it must not look like idleness.
    let limits = Limits {
        idle: 12_000,
        absolute: None,
        lateness: 1_000,
    };
    let kafka = Kafka::own(1);
    let installation = Installation::new(&kafka, limits);
    let trackers = [installation.tracker(&[]), installation.tracker(&[])];
    trackers.iter().for_each(RoleProcess::await_ready);
    let mut users = Population::new(3, 60, PARTITIONS, limits);
    let writer = kafka.writer();
    let topic = installation.session_logs();
    users.act(Duration::from_secs(4), &writer, &topic);
    kafka.kill(1);
    kafka.start(1);
    users.act(Duration::from_secs(6), &writer, &topic);

    installation.verify();

    kafka.kill(1);
    for tracker in &trackers {
        tracker.await_unready("clock", "are the brokers reachable?");
    }
    trackers.into_iter().for_each(RoleProcess::stop);
}
