//! Events that arrive in another order than they happened in, late or twice.

use serde_json::{Value, json};
use sundown::clock::Clock;

use crate::support::installation::Installation;
use crate::support::kafka::Kafka;
use crate::support::model::{Ending, Limits};
use crate::support::topic::NewRecord;

const LIMITS: Limits = Limits {
    idle: 10_000,
    absolute: None,
    lateness: 3_000,
};

/// Session, kind and time in milliseconds.
type Step<'a> = (&'a str, &'a str, i64);

/// Writes one log to one partition in the given order, and returns the endings of all sessions once
/// none is left: session, reason, and time. Times are relative to one some seconds ago.
fn endings(steps: &[Step<'_>]) -> Vec<(String, String, i64)> {
    let installation = Installation::with_partitions(Kafka::shared(), LIMITS, 1);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let start = now() - 4_000;
    let records = steps.iter().map(|&(session, kind, after)| {
        let event = event(session, kind, start + after);
        NewRecord::new(session.to_owned(), event.to_string())
    });
    installation
        .kafka
        .produce(&installation.session_logs(), records.collect::<Vec<_>>());
    installation.await_caught_up();
    installation.await_nothing_left();
    tracker.stop();
    let mut endings = installation.endings();
    endings.sort_by_key(|ending| (ending.session.clone(), ending.ended_at));
    for ending in &endings {
        assert!(ending.started_at <= Some(ending.ended_at), "{ending:?}");
    }
    let is_named = |ending: &&Ending| steps.iter().any(|step| step.0 == ending.session);
    let summary = |ending: &Ending| {
        let after = ending.ended_at - start;
        (ending.session.clone(), ending.reason.clone(), after)
    };
    endings.iter().filter(is_named).map(summary).collect()
}

/// `user:NAME` concerns all sessions of the user; other sessions belong to the user in their name.
fn event(session: &str, kind: &str, at: i64) -> Value {
    let (user, number) = session.split_once(':').expect("a user and a session");
    if user == "user" {
        return json!({"user_id": number, "activity_timestamp": at, "event": kind});
    }
    json!({"user_id": user, "session_id": session, "activity_timestamp": at, "event": kind})
}

fn now() -> i64 {
    Clock::default().wall().as_millis()
}

fn ended(endings: &[(&str, &str, i64)]) -> Vec<(String, String, i64)> {
    let owned = |one: &(&str, &str, i64)| (one.0.to_owned(), one.1.to_owned(), one.2);
    endings.iter().map(owned).collect()
}

#[test]
fn endings_are_those_of_the_events_in_the_order_of_their_times() {
    let found = endings(&[
        // Activity is never 10 s apart, although one comes after the next.
        ("ann:1", "activity", 0),
        ("ann:1", "activity", 11_000),
        ("ann:1", "activity", 9_000),
        ("ann:1", "activity", 18_000),
        // Activity under way when the user logs out.
        ("bob:1", "login", 0),
        ("bob:1", "logout", 1_000),
        ("bob:1", "activity", 950),
        // A logout that is reported twice.
        ("cleo:1", "login", 0),
        ("cleo:1", "logout", 1_000),
        ("cleo:1", "logout", 1_000),
        // A revocation of a user that is repeated after the next login.
        ("dora:1", "login", 0),
        ("user:dora", "revoke", 1_000),
        ("dora:2", "login", 2_000),
        ("user:dora", "revoke", 1_000),
        // A logout that is repeated in the next session of the id.
        ("emil:1", "login", 0),
        ("emil:1", "logout", 1_000),
        ("emil:1", "login", 2_000),
        ("emil:1", "logout", 1_000),
        // A revocation that overtakes a login.
        ("user:fay", "revoke", 2_000),
        ("fay:1", "login", 0),
    ]);
    let expected = ended(&[
        ("ann:1", "idle_timeout", 28_000),
        ("bob:1", "logout", 1_000),
        ("cleo:1", "logout", 1_000),
        ("dora:1", "revoked", 1_000),
        ("dora:2", "idle_timeout", 12_000),
        ("emil:1", "logout", 1_000),
        ("emil:1", "idle_timeout", 12_000),
        ("fay:1", "revoked", 2_000),
    ]);
    assert_eq!(found, expected);
}

/// An application that logs out on the terminal event reports that logout.
#[test]
fn a_logout_that_echoes_a_timeout_ends_nothing() {
    let installation = Installation::with_partitions(Kafka::shared(), LIMITS, 1);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    let start = now() - 9_000;
    let write = |kind: &str, at: i64| {
        let record = NewRecord::new("ann:1".to_owned(), event("ann:1", kind, at).to_string());
        installation
            .kafka
            .produce(&installation.session_logs(), [record]);
    };
    write("login", start);
    installation.await_checkpoint("ann:1");
    installation.await_nothing_left();
    write("logout", now());
    tracker.await_metric(
        "sundown_tracker_dropped_events_total",
        r#"reason="already_ended""#,
        1,
    );
    tracker.stop();
    let endings = installation.endings();
    let reasons: Vec<_> = endings.iter().map(|one| one.reason.as_str()).collect();
    assert_eq!(reasons, ["idle_timeout"]);
}
