//! A group with frequent rebalances.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::prometheus::Prometheus;
use super::scene::{Provoked, Scene};
use crate::support::installation::{Installation, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::role::RoleProcess;
use crate::support::wait::eventually;

/// More than this many in a quarter of an hour are a storm.
const STORM: u64 = 20;

pub fn play(prometheus: &Prometheus) -> Provoked {
    let installation = Installation::new(Kafka::shared(), SHORT);
    // The least that brokers take: members look for rebalances the more often.
    let tracker = installation.tracker(&["--session-timeout", "6s"]);
    tracker.await_ready();
    let mut scene = Scene::new(prometheus, "storm");
    scene.scrape(&[("tracker-0", &tracker)]);
    scene.await_calm();
    scene.provoke(["SundownRebalanceStorm"], |_| {
        let before = rebalances(&tracker);
        while rebalances(&tracker) - before <= STORM {
            come_and_go(&installation);
        }
    });
    scene.provoked()
}

/// A member joins the group, gets a partition, and leaves.
fn come_and_go(installation: &Installation<'_>) {
    let member: BaseConsumer = installation
        .kafka
        .client()
        .set("group.id", installation.group())
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "500")
        .create()
        .expect("a consumer");
    let logs = installation.session_logs();
    member.subscribe(&[&logs]).expect("a subscription");
    eventually(SOON, "a partition", || {
        let _record = member.poll(Duration::from_millis(10));
        let assigned = member.assignment().expect("an assignment");
        (assigned.count() > 0).then_some(())
    });
}

fn rebalances(tracker: &RoleProcess) -> u64 {
    tracker.metric("sundown_tracker_rebalances_total", "")
}
