//! Trackers that come to their bounds, lose their transactions, stand still, lose their
//! brokers.

use std::thread;
use std::time::Duration;

use serde_json::json;
use sundown::clock::Clock;

use super::prometheus::Prometheus;
use super::scene::Scene;
use crate::eventually::eventually;
use crate::kafka::Kafka;
use crate::pipeline::installation::{Installation, PARTITIONS, SOON};
use crate::pipeline::model::Limits;
use crate::pipeline::tracker::Tracker;
use crate::topic::{NewRecord, Record};

/// What this provokes.
pub const ALERTS: &[&str] = &[
    "SundownEndingsLate",
    "SundownKafkaUnreachable",
    "SundownPartitionsUnowned",
    "SundownProducersFenced",
    "SundownSessionBoundNear",
    "SundownSessionBoundReached",
    "SundownTransactionsFailing",
    "SundownWatermarkDelayed",
];

const LIMITS: Limits = Limits {
    idle: 6_000,
    absolute: None,
    lateness: 1_000,
};
const MAX_SESSIONS: usize = 4;
/// The group is patient, so that a tracker which stands still keeps its partitions.
const FLAGS: [&str; 4] = ["--max-sessions", "4", "--session-timeout", "40s"];
/// From their last activity until sessions are later than the alert allows, and a little.
const STANDSTILL: Duration = Duration::from_secs(19);

#[test]
fn trackers_in_trouble_are_told_of() {
    let kafka = Kafka::own(1);
    let installation = Installation::new(&kafka, LIMITS);
    let trackers = [(); 2].map(|()| installation.tracker(&FLAGS));
    for tracker in &trackers {
        tracker.await_ready();
    }
    await_spread(&trackers);
    let prometheus = Prometheus::start();
    let mut scene = Scene::new(&prometheus, "broker");
    scene.scrape(&[("tracker-0", &trackers[0]), ("tracker-1", &trackers[1])]);
    // A new installation without any session.
    scene.await_calm();

    scene.provoke(["SundownSessionBoundNear"], |_| {
        start_sessions(&installation, MAX_SESSIONS);
    });
    scene.provoke(["SundownSessionBoundReached"], |_| {
        start_sessions(&installation, MAX_SESSIONS + 1);
    });
    let fenced = ["SundownProducersFenced", "SundownTransactionsFailing"];
    scene.provoke(fenced, |_| {
        (1..=3).for_each(|times| fence(&installation, &trackers[0], times));
    });
    let [_, mut other] = trackers;
    scene.provoke(["SundownPartitionsUnowned"], |_| {
        other.await_ready();
        start_sessions(&installation, 2);
        other.process.sigstop();
    });
    scene.provoke(["SundownEndingsLate"], |_| {
        thread::sleep(STANDSTILL);
        other.process.sigcont();
    });
    let silent = ["SundownKafkaUnreachable", "SundownWatermarkDelayed"];
    scene.provoke(silent, |_| kafka.kill(1));
    assert_eq!(*scene.provoked(), ALERTS.iter().copied().collect());
}

/// Waits until both have partitions.
fn await_spread(trackers: &[Tracker]) {
    eventually(SOON, "partitions for every tracker", || {
        let live = |tracker: &Tracker| tracker.value("sundown_tracker_partitions{", "live");
        let all = trackers.iter().map(live).collect::<Option<Vec<_>>>()?;
        let spread = all.iter().all(|live| *live > 0.0);
        (spread && all.iter().sum::<f64>() == f64::from(PARTITIONS)).then_some(())
    });
}

/// Starts so many sessions on each partition, if there is room.
fn start_sessions(installation: &Installation<'_>, count: usize) {
    let now = Clock::default().wall().as_millis();
    let partitions = (0..PARTITIONS).flat_map(|partition| vec![partition; count]);
    let events = partitions.map(|partition| {
        let session = installation.key_on(partition);
        let event = json!({"user_id": 1, "session_id": session, "activity_timestamp": now});
        NewRecord::new(session, event.to_string())
    });
    installation
        .kafka
        .produce(&installation.session_logs(), events);
}

/// Takes a tracker's transactional id away, for the so-manieth time, and has it notice.
fn fence(installation: &Installation<'_>, tracker: &Tracker, times: u64) {
    tracker.await_ready();
    let reports = installation.read("sundown.processes");
    let mut reports = reports.iter().map(Record::json);
    let own = reports.find(|report| report["admin"] == tracker.admin());
    let own = own.expect("a report of the tracker");
    let id = own["id"].as_str().expect("an id");
    let id = format!("{}-{id}", installation.group());
    drop(installation.kafka.transactional_writer(&id));
    eventually(SOON, "a tracker that has been fenced", || {
        start_sessions(installation, 1);
        (tracker.metric("sundown_tracker_fenced_producers_total", "") >= times).then_some(())
    });
}
