//! Trackers that reach their bounds, lose transactions or stall.

use std::thread;
use std::time::Duration;

use serde_json::json;
use sundown::clock::Clock;

use super::prometheus::Prometheus;
use super::scene::{Provoked, Scene};
use crate::support::installation::{Installation, PARTITIONS, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::role::RoleProcess;
use crate::support::topic::{NewRecord, Record};
use crate::support::wait::eventually;

const LIMITS: Limits = Limits {
    idle: 8_000,
    absolute: None,
    lateness: 1_000,
};
const MAX_SESSIONS: usize = 4;
/// The group is patient, so that a tracker which stands still keeps its partitions.
const FLAGS: [&str; 4] = ["--max-sessions", "4", "--session-timeout", "40s"];
/// From their last activity until sessions are later than the alert allows, and a little.
const STALL: Duration = Duration::from_secs(22);

pub fn play(prometheus: &Prometheus) -> Provoked {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let trackers = [(); 2].map(|()| installation.tracker(&FLAGS));
    for tracker in &trackers {
        tracker.await_ready();
    }
    await_spread(&trackers);
    let [first, mut second] = trackers;
    let mut scene = Scene::new(prometheus, "trackers");
    scene.scrape(&[("tracker-0", &first), ("tracker-1", &second)]);
    scene.await_calm();

    let alerts = ["SundownSessionBoundNear", "SundownSessionBoundReached"];
    scene.provoke(alerts, |_| start_sessions(&installation, MAX_SESSIONS + 1));
    let alerts = ["SundownProducersFenced", "SundownTransactionsFailing"];
    scene.provoke(alerts, |_| {
        (1..=3).for_each(|times| fence(&installation, &first, times));
    });
    scene.provoke(["SundownPartitionsUnowned", "SundownEndingsLate"], |_| {
        start_sessions(&installation, 2);
        second.process.sigstop();
        thread::sleep(STALL);
        second.process.sigcont();
    });
    scene.provoked()
}

/// Waits until both have partitions.
fn await_spread(trackers: &[RoleProcess]) {
    eventually(SOON, "partitions for every tracker", || {
        let live = |tracker: &RoleProcess| tracker.value("sundown_tracker_partitions{", "live");
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
fn fence(installation: &Installation<'_>, tracker: &RoleProcess, times: u64) {
    // It gets hold of the id with its next transaction, not sooner.
    let committed = || tracker.metric("sundown_tracker_transactions_total", "committed");
    let before = committed();
    eventually(SOON, "a transaction", || {
        start_sessions(installation, 1);
        (committed() > before).then_some(())
    });
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
