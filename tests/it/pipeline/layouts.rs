//! Partitions that are added before the first commit.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::installation::{Installation, PARTITIONS, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

/// Long enough that no session ends by it.
const LONG: [&str; 2] = ["--idle-timeout", "1h"];

fn write(installation: &Installation<'_>, sessions: &[String], kind: &str) {
    let events = sessions.iter().map(|session| {
        let event = json!({"user_id": 1, "session_id": session, "event": kind});
        NewRecord::new(session.as_str(), event.to_string())
    });
    let logs = installation.session_logs();
    installation.kafka.produce(&logs, events);
}

#[test]
fn trackers_from_before_and_after_partitions_were_added_share_sessions() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let before = installation.tracker(&[&LONG[..], &["--commit-interval", "1h"]].concat());
    before.await_ready();
    let grown = 2 * PARTITIONS;
    installation.run(&["topics", "grow", "--partitions", &grown.to_string()]);
    let after = installation.tracker(&LONG);
    after.await_ready();
    let sessions: Vec<_> = (0..50).map(|number| format!("session-{number}")).collect();
    write(&installation, &sessions, "login");
    after.await_metric("sundown_tracker_transactions_total", "committed", 1);
    after.kill();
    before.stop();

    let restarted = installation.tracker(&LONG);
    restarted.await_ready();
    write(&installation, &sessions, "logout");
    let endings = eventually(SOON, "the end of all sessions", || {
        let endings = installation.endings();
        (endings.len() >= sessions.len()).then_some(endings)
    });
    restarted.stop();
    // Each by its logout, and with the start that the first trackers saw.
    let ended = endings.iter().filter(|ending| ending.started_at.is_some());
    let ended: BTreeSet<_> = ended.map(|ending| ending.session.clone()).collect();
    assert_eq!(ended, sessions.into_iter().collect());
    assert_eq!(installation.endings().len(), endings.len());
}
