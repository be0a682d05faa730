//! The limit of a user's sessions.

use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;
use sundown::clock::Clock;
use tempfile::NamedTempFile;

use crate::support::installation::{Installation, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::Limits;
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const LIMITS: Limits = Limits {
    idle: 3_600_000,
    absolute: None,
    lateness: 500,
};
const POLICY: &str = "
apiVersion: sundown.dev/v1alpha1
kind: SessionPolicy
metadata: {name: two-sessions}
spec: {idleTimeout: 1h, maxSessions: 2}
";

fn login(session: &str, user: &str) -> NewRecord {
    let event = json!({
        "user_id": user,
        "session_id": session,
        "activity_timestamp": Clock::default().wall().as_millis(),
        "event": "login",
    });
    NewRecord::new(session, event.to_string())
}

/// The sessions of [`log_in`] that two later ones of their user leave no room for.
pub const FIRST_TWO: [&str; 2] = ["first", "second"];

/// Four logins of one user on all partitions, one after the other, and one of another user.
pub fn log_in(installation: &Installation<'_>) {
    let logs = installation.session_logs();
    installation.kafka.produce(&logs, [login("other", "joe")]);
    for session in ["first", "second", "third", "fourth"] {
        installation.kafka.produce(&logs, [login(session, "ann")]);
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_user_keeps_the_most_recent_sessions_whatever_the_keys_of_their_events() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let file = NamedTempFile::new().expect("a file");
    fs::write(file.path(), POLICY).expect("the file is written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let flags = ["--policies", path, "--routing-key", "user_id"];
    let trackers = [installation.tracker(&flags), installation.tracker(&flags)];
    trackers.iter().for_each(RoleProcess::await_ready);
    log_in(&installation);
    let endings = eventually(SOON, "the ends of two sessions", || {
        let endings = installation.endings();
        (endings.len() >= 2).then_some(endings)
    });
    let mut ended: Vec<(&str, &str)> = endings
        .iter()
        .map(|one| (one.session.as_str(), one.reason.as_str()))
        .collect();
    ended.sort_unstable();
    let expected = FIRST_TWO.map(|session| (session, "session_limit"));
    assert_eq!(ended, expected);
}

#[test]
fn without_routing_by_user_a_limit_ends_nothing_and_the_log_names_the_flag() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let file = NamedTempFile::new().expect("a file");
    fs::write(file.path(), POLICY).expect("the file is written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let tracker = installation.tracker(&["--policies", path]);
    tracker.await_ready();
    log_in(&installation);
    tracker.await_message("maxSessions of these policies is not active, because sessions are routed by session id: start all trackers with --routing-key user_id");
    installation.await_caught_up();
    let endings = installation.endings();
    assert!(endings.iter().all(|one| one.reason != "session_limit"));
}
