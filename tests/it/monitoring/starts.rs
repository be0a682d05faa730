//! Trackers that start under adverse conditions, each in its own installation.

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;
use sundown::clock::Clock;

use super::prometheus::Prometheus;
use super::scene::{Provoked, Scene};
use crate::pipeline::clocks::tracker_with_clock;
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::role::RoleProcess;
use crate::support::topic::{BROKER_TIMEOUT, NewRecord};
use crate::tls::Identity;

pub fn play(prometheus: &Prometheus) -> Provoked {
    let [clock, truncated, damaged, expiring, upstream] =
        [(); 5].map(|()| Installation::new(Kafka::shared(), SHORT));
    let identity = Identity::new();
    let mut scenes = ["clock", "truncated", "damaged", "expiring", "upstream"]
        .map(|namespace| Scene::new(prometheus, namespace));
    let [of_clock, of_truncated, of_damaged, of_expiring, of_upstream] = &mut scenes;
    // All of them first: each takes its time.
    let trackers = [
        tracker_with_clock(&clock, "+1h"),
        ahead_of_its_topic(&truncated),
        without_metadata(&damaged),
        with_certificate(&expiring, &identity),
        upstream.tracker(&[]),
    ];
    let [wrong_clock, stuck, lost, short_lived, delayed] = &trackers;
    delayed.await_ready();
    of_upstream.scrape(&[("tracker-0", delayed)]);
    of_upstream.await_calm();
    let mut open = None;

    of_clock.provoke(["SundownClocksApart"], |scene| {
        scene.scrape(&[("tracker-0", wrong_clock)]);
    });
    // The broker speaks no TLS.
    let alerts = ["SundownCertificateExpiring", "SundownNotReady"];
    of_expiring.provoke(alerts, |scene| {
        scene.scrape(&[("tracker-0", short_lived)]);
    });
    let alerts = ["SundownRestoreStuck", "SundownStateHeld"];
    of_truncated.provoke(alerts, |scene| {
        scene.scrape(&[("tracker-0", stuck)]);
    });
    of_damaged.provoke(["SundownRestoreLostActivity"], |scene| {
        scene.scrape(&[("tracker-0", lost)]);
    });
    of_upstream.provoke(["SundownWatermarkDelayed"], |_| {
        open = Some(open_transaction(&upstream));
    });
    scenes.iter().flat_map(Scene::provoked).collect()
}

/// A tracker whose group has committed more than there is.
fn ahead_of_its_topic(installation: &Installation<'_>) -> RoleProcess {
    let (group, logs) = (installation.group(), installation.session_logs());
    installation.kafka.commit(&group, &logs, &[(0, 1_000)]);
    installation.tracker(&[])
}

/// A tracker with a session whose group had a position set by another client, until an operator
/// decided.
fn without_metadata(installation: &Installation<'_>) -> RoleProcess {
    let flags = ["--idle-timeout", "1h", "--absolute-timeout", "1h"];
    let tracker = installation.tracker(&flags);
    let session = installation.key_on(0);
    let now = Clock::default().wall().as_millis();
    let event = json!({"user_id": 1, "session_id": session, "activity_timestamp": now});
    let event = NewRecord::new(session.as_str(), event.to_string());
    let (group, logs) = (installation.group(), installation.session_logs());
    installation.kafka.produce(&logs, [event]);
    installation.await_checkpoint(&session);
    tracker.stop();
    installation.kafka.commit(&group, &logs, &[(0, 1)]);
    installation.run(&["state", "reset", "--to", "now", "--held", "--yes"]);
    installation.tracker(&flags)
}

/// A record that stays within a transaction for as long as a broker lets it.
fn open_transaction(installation: &Installation<'_>) -> impl Sized + use<> {
    let mut config = installation.kafka.client();
    let id = installation.topic("upstream");
    config.set("transactional.id", id);
    config.set("transaction.timeout.ms", "120000");
    let producer: BaseProducer = config.create().expect("a producer");
    let logs = installation.session_logs();
    let record = BaseRecord::to(&logs).key("upstream").payload("{}");
    producer.init_transactions(BROKER_TIMEOUT).expect("an id");
    producer.begin_transaction().expect("a transaction");
    producer.send(record).expect("room for a record");
    producer.flush(BROKER_TIMEOUT).expect("it is delivered");
    producer
}

/// A tracker whose certificate runs out within two days.
fn with_certificate(installation: &Installation<'_>, identity: &Identity) -> RoleProcess {
    let launch = installation.sundown(&["tracker"]);
    let launch = launch.arg("--tls-cert-file").arg(identity.certificate());
    let launch = launch.arg("--tls-key-file").arg(identity.key());
    RoleProcess::start(launch.arg("--tls-ca-file").arg(identity.certificate()))
}
