//! Events that arrive displaced and doubled, from several producers, at trackers that are killed.

mod history;

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use sundown::clock::Clock;

use crate::support::installation::{Installation, PARTITIONS, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::{Expected, Limits, millis};
use crate::support::process::Stream;
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
    assert_simulated(&installation, &expected);
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

/// `sundown policy simulate` has to come to the same endings. It lists what ends differently under
/// the current policies: all that times out, as their timeout is a day.
fn assert_simulated(installation: &Installation<'_>, expected: &Expected) {
    let report = simulate(installation);
    let simulated = &report["simulated"];
    assert_eq!(simulated["live"], 0);
    let doubtful = expected.doubtful.len() as u64;
    let counts = simulated["ended"].as_array().expect("a list");
    for (reason, count) in count_by_reason(expected) {
        let of_reason = counts.iter().filter(|line| line["reason"] == reason);
        let found: u64 = of_reason.filter_map(|line| line["sessions"].as_u64()).sum();
        assert!(
            found.abs_diff(count) <= doubtful,
            "{reason}: {found}, not {count}"
        );
    }

    let certain = |session: &str| !expected.doubtful.contains(session);
    let listed = report["differences"].as_array().expect("a list").iter();
    let mut found: Vec<_> = listed
        .filter_map(|difference| timeout(&difference["session_id"], &difference["simulated"]))
        .filter(|(session, ..)| certain(session))
        .collect();
    let mut timeouts: Vec<_> = expected
        .endings
        .iter()
        .filter(|ending| ending.reason.ends_with("_timeout") && certain(&ending.session))
        .map(|ending| {
            (
                ending.session.clone(),
                ending.reason.clone(),
                ending.ended_at,
            )
        })
        .collect();
    found.sort();
    timeouts.sort();
    assert_eq!(found, timeouts);
}

fn simulate(installation: &Installation<'_>) -> Value {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    let policy = "{apiVersion: sundown.dev/v1alpha1, kind: SessionPolicy, \
                  metadata: {name: all}, spec: {idleTimeout: 5s, absoluteTimeout: 15s}}";
    std::fs::write(file.path(), policy).expect("the file is written");
    let launch = installation.sundown(&["policy", "simulate"]).arg("-f");
    let launch = launch.arg(file.path()).args([
        "--until",
        "2100-01-01T00:00:00Z",
        "--limit",
        "1000000",
        "--idle-timeout",
        "24h",
        "--allowed-lateness",
        "3s",
        "-o",
        "json",
    ]);
    let mut command = launch.start();
    let status = command.wait(SOON);
    assert!(status.success(), "{}", command.text(Stream::Stderr));
    serde_json::from_str(&command.text(Stream::Stdout)).expect("JSON")
}

/// Session, reason and time, if the session timed out.
fn timeout(session: &Value, fate: &Value) -> Option<(String, String, i64)> {
    let reason = fate["reason"]
        .as_str()
        .filter(|reason| reason.ends_with("_timeout"))?;
    let at = millis(fate["ended_at"].as_str()?);
    Some((session.as_str()?.to_owned(), reason.to_owned(), at))
}
