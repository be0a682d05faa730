//! Trackers that start under the wrong circumstances, each as an installation of its own.

use super::expressions::of_dashboards;
use super::prometheus::Prometheus;
use super::scene::Scene;
use crate::kafka::Kafka;
use crate::pipeline::clocks::tracker_with_clock;
use crate::pipeline::installation::{Installation, SHORT};
use crate::pipeline::tracker::Tracker;
use crate::tls::Identity;

/// What this provokes.
pub const ALERTS: &[&str] = &[
    "SundownCertificateExpiring",
    "SundownClocksApart",
    "SundownNotReady",
    "SundownRestoreLostActivity",
    "SundownRestoreStuck",
];

#[test]
fn trackers_that_start_wrongly_are_told_of() {
    let prometheus = Prometheus::start();
    let [clock, truncated, damaged, expiring] =
        [(); 4].map(|()| Installation::new(Kafka::shared(), SHORT));
    let identity = Identity::new();
    let mut scenes = ["clock", "truncated", "damaged", "expiring"]
        .map(|namespace| Scene::new(&prometheus, namespace));
    let [of_clock, of_truncated, of_damaged, of_expiring] = &mut scenes;
    // All of them first: each takes its time.
    let trackers = [
        tracker_with_clock(&clock, "+1h"),
        committed_at(&truncated, 1_000),
        committed_at(&damaged, 0),
        with_certificate(&expiring, &identity),
    ];
    let [wrong_clock, stuck, lost, short_lived] = &trackers;

    of_clock.provoke(["SundownClocksApart"], |scene| {
        scene.scrape(&[("tracker-0", wrong_clock)]);
    });
    // The broker speaks no TLS.
    let alerts = ["SundownCertificateExpiring", "SundownNotReady"];
    of_expiring.provoke(alerts, |scene| scene.scrape(&[("tracker-0", short_lived)]));
    of_truncated.provoke(["SundownRestoreStuck"], |scene| {
        scene.scrape(&[("tracker-0", stuck)]);
    });
    of_damaged.provoke(["SundownRestoreLostActivity"], |scene| {
        scene.scrape(&[("tracker-0", lost)]);
    });

    let certificates = of_dashboards("expiring");
    let mut certificates = certificates
        .iter()
        .filter(|it| it.text.contains("sundown_certificate_expiry"));
    let shown = certificates.next().expect("a panel of certificates");
    assert_eq!(prometheus.query(&shown.text).len(), 2, "{shown:?}");
    let provoked = scenes.iter().flat_map(Scene::provoked).copied();
    assert_eq!(provoked.collect::<Vec<_>>().len(), ALERTS.len());
}

/// A tracker of a group whose position on partition 0 somebody else has set.
fn committed_at(installation: &Installation<'_>, offset: i64) -> Tracker {
    let (group, logs) = (installation.group(), installation.session_logs());
    installation.kafka.commit(&group, &logs, &[(0, offset)]);
    installation.tracker(&[])
}

/// A tracker whose certificate runs out within two days.
fn with_certificate(installation: &Installation<'_>, identity: &Identity) -> Tracker {
    let launch = installation.sundown(&["tracker"]);
    let launch = launch.arg("--tls-cert-file").arg(identity.certificate());
    let launch = launch.arg("--tls-key-file").arg(identity.key());
    Tracker::start(launch.arg("--tls-ca-file").arg(identity.certificate()))
}
