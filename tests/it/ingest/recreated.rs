//! Source topics that are deleted and created again.

use std::thread;
use std::time::Duration;

use super::{AccessLog, LIMITS};
use crate::support::installation::{Installation, SOON};
use crate::support::kafka::Kafka;
use crate::support::wait::eventually;

/// Partitions have to be missing twice, a minute apart.
const WITHDRAWAL_TIMEOUT: Duration = Duration::from_secs(180);

#[test]
fn a_topic_created_again_with_fewer_partitions_holds_no_ending() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let log = AccessLog::with_partitions(&installation, 3);
    let ingest = log.ingest();
    let tracker = installation.tracker(&[]);
    ingest.await_ready();
    tracker.await_ready();
    log.write(&["idle"]);
    tracker.await_metric("sundown_tracker_sessions_started_total", "", 1);

    installation.kafka.delete_topic(&log.topic);
    installation.kafka.create_topic(&log.topic, 1, &[]);
    eventually(WITHDRAWAL_TIMEOUT, "the end of the idle session", || {
        log.write(&["active"]);
        thread::sleep(Duration::from_millis(500));
        assert!(!log.ended("active"));
        log.ended("idle").then_some(())
    });
    eventually(SOON, "the end of the other session", || {
        log.ended("active").then_some(())
    });
    assert_eq!(installation.endings().len(), 2);
    ingest.stop();
    tracker.stop();
}
