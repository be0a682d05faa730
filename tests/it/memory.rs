//! Trackers at their memory limit.

use serde_json::json;
use sundown::clock::Clock;

use crate::support::installation::Installation;
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::topic::NewRecord;

/// Sessions that do not end within the test.
const LONG: Limits = Limits {
    idle: 3_600_000,
    absolute: None,
    lateness: 1_000,
};

fn event(session: &str, kind: &str) -> NewRecord {
    let now = Clock::default().wall().as_millis();
    let event =
        json!({"user_id": 1, "session_id": session, "activity_timestamp": now, "event": kind});
    NewRecord::new(session, event.to_string())
}

#[test]
fn at_the_memory_limit_new_sessions_are_refused_and_live_ones_go_on() {
    let installation = Installation::with_partitions(Kafka::shared(), LONG, 1);
    let logs = installation.session_logs();
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let (live, refused) = (installation.key_on(0), installation.key_on(0));
    installation.kafka.produce(&logs, [event(&live, "login")]);
    installation.await_checkpoint(&live);
    tracker.stop();

    // Less than any process has.
    let tracker = installation.tracker(&["--memory-limit", "1Mi"]);
    tracker.await_ready();
    let limit = tracker.value("sundown_tracker_memory_limit_bytes", "");
    assert_eq!(limit, Some(f64::from(1 << 20)));
    tracker.await_message("the memory limit is reached");
    // The places that were made for the live session are taken first.
    let places = 600;
    let others = (0..places).map(|_| event(&installation.key_on(0), "login"));
    installation.kafka.produce(&logs, others);
    installation
        .kafka
        .produce(&logs, [event(&refused, "login")]);
    tracker.await_metric("sundown_tracker_dead_letters_total", "too_many_sessions", 1);
    installation.kafka.produce(&logs, [event(&live, "logout")]);
    tracker.await_metric("sundown_tracker_endings_total", "logout", 1);
    // Its place is free again.
    let started = tracker.metric("sundown_tracker_sessions_started_total", "");
    installation
        .kafka
        .produce(&logs, [event(&refused, "login")]);
    tracker.await_metric("sundown_tracker_sessions_started_total", "", started + 1);
    tracker.stop();
}
