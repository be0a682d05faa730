//! Policy edits during live sessions, and bounds.

use std::fs;

use serde_json::json;
use sundown::clock::Clock;
use tempfile::NamedTempFile;

use crate::support::installation::{Installation, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::{Ending, Limits};
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const LIMITS: Limits = Limits {
    idle: 3_600_000,
    absolute: None,
    lateness: 500,
};

/// A session of one tenant, active just now.
pub fn activity(session: &str, tenant: &str) -> NewRecord {
    let event = json!({
        "user_id": tenant,
        "session_id": session,
        "activity_timestamp": Clock::default().wall().as_millis(),
        "attributes": {"tenant": tenant},
    });
    NewRecord::new(session, event.to_string())
}

/// Policies of two tenants with these idle timeouts.
fn policies(acme: &str, umbrella: &str) -> String {
    let policy = |tenant: &str, idle: &str| {
        format!(
            "---
apiVersion: sundown.dev/v1alpha1
kind: SessionPolicy
metadata: {{name: {tenant}}}
spec: {{idleTimeout: {idle}, match: {{attributes: {{tenant: {tenant}}}}}}}
"
        )
    };
    policy("acme", acme) + &policy("umbrella", umbrella)
}

fn ending_of(installation: &Installation<'_>, session: &str) -> Option<Ending> {
    let endings = installation.endings();
    let found = endings.iter().find(|ending| ending.session == session);
    found.cloned()
}

fn await_ending(installation: &Installation<'_>, session: &str) -> Ending {
    eventually(SOON, "the session's end", || {
        ending_of(installation, session)
    })
}

#[test]
fn an_edit_of_the_policies_reaches_running_sessions_both_ways() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let file = NamedTempFile::new().expect("a file");
    let write = |text: &str| fs::write(file.path(), text).expect("the file is written");
    write(&policies("1h", "12s"));
    let flags = ["--policies", file.path().to_str().expect("a path in UTF-8")];
    let tracker = installation.tracker(&flags);
    tracker.await_ready();
    let sessions = [0, 1].map(|partition| installation.key_on(partition));
    let [acme, umbrella] = &sessions;
    let events = [activity(acme, "acme"), activity(umbrella, "umbrella")];
    installation
        .kafka
        .produce(&installation.session_logs(), events);
    let started = Clock::default().wall().as_millis();
    installation.await_checkpoint(umbrella);

    // Sooner for one, later for the other, and neither started again.
    write(&policies("2s", "1h"));
    tracker.await_message("active policies changed");
    let ending = await_ending(&installation, acme);
    assert_eq!(ending.reason, "idle_timeout");
    assert_eq!(
        Some(ending.ended_at),
        ending.last_activity.map(|at| at + 2_000)
    );
    // On the partition of that session, so that as much time has passed for it.
    let mut ended_at = 0;
    while ended_at < started + 12_000 {
        let later = installation.key_on(1);
        let events = [activity(&later, "acme")];
        installation
            .kafka
            .produce(&installation.session_logs(), events);
        ended_at = await_ending(&installation, &later).ended_at;
    }
    assert_eq!(
        ending_of(&installation, umbrella),
        None,
        "more than 12 s have passed; an hour has not"
    );

    // An invalid file changes nothing and is logged.
    write("nonsense: [");
    tracker.await_message("invalid policy file");
    let another = installation.key_on(2);
    let events = [activity(&another, "acme")];
    installation
        .kafka
        .produce(&installation.session_logs(), events);
    await_ending(&installation, &another);

    write(&policies("1h", "1s"));
    let ending = await_ending(&installation, umbrella);
    assert_eq!(
        Some(ending.ended_at),
        ending.last_activity.map(|at| at + 1_000)
    );
    tracker.stop();
}

#[test]
fn events_beyond_max_sessions_are_put_aside_and_running_sessions_live_on() {
    let limits = Limits {
        idle: 3_000,
        ..LIMITS
    };
    let installation = Installation::new(Kafka::shared(), limits);
    let tracker = installation.tracker(&["--max-sessions", "2"]);
    tracker.await_ready();
    let sessions: Vec<_> = (0..3).map(|_| installation.key_on(0)).collect();
    let logs = installation.session_logs();
    let events: Vec<_> = sessions
        .iter()
        .map(|session| activity(session, "acme"))
        .collect();
    installation.kafka.produce(&logs, events.clone());
    // The two that run take activity as ever.
    installation
        .kafka
        .produce(&logs, [activity(&sessions[0], "acme")]);
    let refused = eventually(SOON, "a dead letter", || {
        installation.read("session_logs.dlq").pop()
    });
    assert_eq!(refused.key.as_deref(), Some(sessions[2].as_bytes()));
    assert_eq!(refused.value, events[2].value);
    assert_eq!(
        refused.header("sundown-dlq-reason"),
        Some("too_many_sessions")
    );

    await_ending(&installation, &sessions[0]);
    await_ending(&installation, &sessions[1]);
    // Now there is room for it.
    installation
        .kafka
        .produce(&logs, [activity(&sessions[2], "acme")]);
    await_ending(&installation, &sessions[2]);
    assert_eq!(installation.endings().len(), 3);
    assert_eq!(installation.read("session_logs.dlq").len(), 1);
    tracker.stop();
}
