//! Partitions that are added before the first commit.

use serde_json::json;

use crate::support::installation::{Installation, PARTITIONS, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

#[test]
fn a_tracker_from_before_holds_what_one_from_after_has_committed() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let long = ["--idle-timeout", "1h"];
    let before = installation.tracker(&[&long[..], &["--commit-interval", "1h"]].concat());
    before.await_ready();
    let grown = 2 * PARTITIONS;
    installation.run(&["topics", "grow", "--partitions", &grown.to_string()]);
    let after = installation.tracker(&long);
    after.await_ready();
    let sessions = (0..50).map(|number| format!("session-{number}"));
    let sessions: Vec<_> = sessions.collect();
    let events = sessions.iter().map(|session| {
        let event = json!({"user_id": 1, "session_id": session});
        NewRecord::new(session.as_str(), event.to_string())
    });
    let logs = installation.session_logs();
    installation.kafka.produce(&logs, events);
    after.await_metric("sundown_tracker_transactions_total", "committed", 1);
    after.kill();
    eventually(SOON, "a partition that is held", || {
        let held = before.metric("sundown_tracker_held_partitions", "layout_differs");
        (held > 0).then_some(())
    });
    before.await_unready("state", "restart the trackers");
    before.stop();
    assert!(installation.endings().is_empty());
}
