//! Events that arrive displaced and doubled, from several producers, at trackers that are killed.

mod history;

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use sundown::clock::Clock;

use crate::support::installation::{Installation, PARTITIONS};
use crate::support::kafka::Kafka;
use crate::support::model::{Expected, Limits};
use crate::support::role::RoleProcess;
use history::{History, Sending};

const LIMITS: Limits = Limits {
    idle: 5_000,
    absolute: Some(15_000),
    lateness: 3_000,
};
/// What events are displaced by at most.
const DISPLACEMENT: i64 = LIMITS.lateness * 8 / 10;
/// How long the applications write.
const SPAN: Duration = Duration::from_secs(60);
/// How often a tracker is killed.
const KILL_INTERVAL: Duration = Duration::from_secs(10);

#[test]
fn displaced_and_doubled_events_lead_to_the_endings_of_the_events_in_order() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let mut trackers: Vec<RoleProcess> = (0..3).map(|_| installation.tracker(&[])).collect();
    trackers.iter().for_each(RoleProcess::await_ready);

    let start = Clock::default().wall().as_millis();
    let history = History::new(5, start, SPAN, LIMITS, DISPLACEMENT, PARTITIONS);
    thread::scope(|scope| {
        let producers = history.producers.map(|sendings| {
            let installation = &installation;
            scope.spawn(move || send(installation, sendings))
        });
        let ends = |producer: &thread::ScopedJoinHandle<'_, ()>| producer.is_finished();
        loop {
            thread::sleep(KILL_INTERVAL);
            if producers.iter().all(ends) {
                break;
            }
            trackers.remove(0).kill();
            trackers.push(installation.tracker(&[]));
        }
    });

    let expected = installation.verify();
    trackers.into_iter().for_each(RoleProcess::stop);
    expected.compare(installation.endings());
    let reasons = count_by_reason(&expected);
    assert_eq!(
        reasons.len(),
        5,
        "every reason but session_limit: {reasons:?}"
    );
}

/// Writes each record at its time.
fn send(installation: &Installation<'_>, mut sendings: Vec<Sending>) {
    let (writer, topic) = (installation.kafka.writer(), installation.session_logs());
    let clock = Clock::default();
    while !sendings.is_empty() {
        let now = clock.wall().as_millis();
        let due = sendings.iter().take_while(|sending| sending.at <= now);
        let due = sendings.drain(..due.count());
        writer.write(&topic, due.map(|sending| sending.record));
        thread::sleep(Duration::from_millis(20));
    }
}

fn count_by_reason(expected: &Expected) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for ending in &expected.endings {
        *counts.entry(ending.reason.as_str()).or_default() += 1;
    }
    counts
}
