//! `sundown policy simulate` predicts the behavior of trackers.

use serde_json::{Value, json};

use super::{Output, apply, file, policy, run, tenant};
use crate::support::installation::{Installation, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::{Limits, millis};
use crate::support::process::Launch;
use crate::support::wait::eventually;

/// An hour of three sessions, from noon on.
fn log() -> String {
    let event = |session: &str, minute: u32, tenant: &str, kind: &str| {
        json!({
            "session_id": session,
            "user_id": tenant,
            "activity_timestamp": format!("2025-02-07T12:{minute:02}:00Z"),
            "event": kind,
            "attributes": {"tenant": tenant},
        })
        .to_string()
    };
    let lines = [
        event("a", 0, "acme", "activity"),
        event("b", 0, "umbrella", "activity"),
        "{\"session_id\": 7}".to_owned(),
        event("a", 20, "acme", "activity"),
        String::new(),
        event("c", 25, "acme", "activity"),
        event("b", 30, "umbrella", "logout"),
        event("a", 59, "acme", "activity"),
    ];
    lines.join("\n") + "\n"
}

/// Tries the policies out on the log, against the built-in hour, without Kafka.
fn simulate(policies: &str, args: &[&str]) -> Output {
    simulate_on(&log(), policies, args)
}

fn simulate_on(log: &str, policies: &str, args: &[&str]) -> Output {
    let (log, policies) = (file(log), file(policies));
    let launch = Launch::sundown().args(["policy", "simulate", "-b", "127.0.0.1:1"]);
    let launch = launch.arg("-f").arg(policies.path());
    let launch = launch.arg("--from").arg(log.path());
    Output::of(launch.args(["--current", "built-in"]).args(args))
}

#[test]
fn different_endings_are_reported_with_time_and_reason() {
    let until = ["--until", "2025-02-07T13:10:00Z"];
    assert_eq!(
        simulate(&tenant("acme", "15m"), &until).succeeded(),
        "\
6 events until 2025-02-07T13:10:00.000Z; 1 record is no session event

SESSIONS    SIMULATED  CURRENT
started     5          3
ended       4          1
still live  1          2

REASON        POLICY    SIMULATED  CURRENT
idle_timeout  acme      3          0
logout        built-in  1          1

3 sessions end differently:
SESSION  SIMULATED                                     CURRENT
a        2025-02-07T12:15:00.000Z idle_timeout (acme)  still live
a        2025-02-07T12:35:00.000Z idle_timeout (acme)  part of an earlier session
c        2025-02-07T12:40:00.000Z idle_timeout (acme)  still live
"
    );
}

#[test]
fn a_session_limit_ends_the_least_recently_active_sessions() {
    let event = |session: &str, minute: u32, kind: &str| {
        json!({
            "session_id": session,
            "user_id": 7,
            "activity_timestamp": format!("2025-02-07T12:{minute:02}:00Z"),
            "event": kind,
        })
        .to_string()
    };
    let log = [
        event("laptop", 0, "login"),
        event("phone", 10, "login"),
        event("laptop", 15, "activity"),
        event("tablet", 20, "login"),
    ];
    let output = simulate_on(
        &log.join("\n"),
        &policy("two", "{idleTimeout: 1h, maxSessions: 2}"),
        &["--until", "2025-02-07T12:59:00Z", "-o", "json"],
    );
    let report: Value = serde_json::from_str(&output.succeeded()).expect("JSON");
    assert_eq!(
        report["simulated"]["ended"],
        json!([{"reason": "session_limit", "policy": "two", "sessions": 1}])
    );
    assert_eq!(
        report["differences"],
        json!([{
            "session_id": "phone",
            "user_id": 7,
            "simulated": {
                "state": "ended", "ended_at": "2025-02-07T12:20:05.000Z",
                "reason": "session_limit", "policy": "two"
            },
            "current": {"state": "live"},
        }])
    );
}

#[test]
fn limits_and_times_are_respected() {
    let output = simulate(
        &policy("all", "{idleTimeout: 10m}"),
        &[
            "--until",
            "2025-02-07T12:29:00Z",
            "--limit",
            "1",
            "-o",
            "json",
        ],
    );
    let report: Value = serde_json::from_str(&output.succeeded()).expect("JSON");
    assert_eq!(
        report["events"], 4,
        "the logout and what follows come later"
    );
    assert_eq!(
        report["simulated"]["ended"],
        json!([{"reason": "idle_timeout", "policy": "all", "sessions": 2}])
    );
    assert_eq!(report["different"], 2);
    assert_eq!(
        report["differences"],
        json!([{
            "session_id": "a",
            "user_id": "acme",
            "simulated": {
                "state": "ended", "ended_at": "2025-02-07T12:10:00.000Z",
                "reason": "idle_timeout", "policy": "all"
            },
            "current": {"state": "live"},
        }])
    );
    let refused = simulate(&tenant("acme", "15m"), &["--until", "soon"]);
    refused.failed(&["--until 'soon'", "RFC 3339"]);
}

#[test]
fn a_tracker_then_does_what_was_foretold() {
    // As late as the events of made-up users may come.
    let limits = Limits {
        idle: 86_400_000,
        absolute: None,
        lateness: 3_000,
    };
    let installation = Installation::new(Kafka::shared(), limits);
    let users = [
        "--users",
        "40",
        "--rate",
        "150",
        "--duration",
        "6s",
        "--seed",
        "11",
    ];
    let produced = installation.sundown(&[&["produce"], &users[..]].concat());
    Output::of(produced).succeeded();

    let policies = policy("short", "{idleTimeout: 3s, absoluteTimeout: 5s}");
    let foretold = foretell(&installation, &policies);
    let total = count(&foretold["simulated"]["ended"]);

    apply(&installation, &policies).succeeded();
    let tracker = installation.tracker(&[]);
    eventually(SOON, "all that was foretold", || {
        (installation.endings().len() as u64 >= total).then_some(())
    });
    installation.await_nothing_left();
    tracker.stop();
    let mut done: Vec<_> = installation
        .endings()
        .into_iter()
        .filter(|ending| ending.reason.ends_with("_timeout"))
        .map(|ending| (ending.session, ending.reason, ending.ended_at))
        .collect();
    assert_eq!(installation.endings().len() as u64, total);
    let mut expected = timeouts(&foretold);
    done.sort();
    expected.sort();
    assert!(!expected.is_empty());
    assert_eq!(done, expected);
}

/// What the policies would do to the installation's sessions, all of which end sooner or later.
fn foretell(installation: &Installation<'_>, policies: &str) -> Value {
    let file = file(policies);
    let path = file.path().to_str().expect("a path in UTF-8");
    let foretold = run(
        installation,
        &[
            "simulate",
            "-f",
            path,
            "--until",
            "2100-01-01T00:00:00Z",
            "--limit",
            "1000000",
            "--idle-timeout",
            "24h",
            "--allowed-lateness",
            "3s",
            "-o",
            "json",
        ],
    );
    let foretold: Value = serde_json::from_str(&foretold.succeeded()).expect("JSON");
    for none in ["live", "late_events", "refused_events"] {
        assert_eq!(foretold["simulated"][none], 0, "{none}");
    }
    foretold
}

fn count(ended: &Value) -> u64 {
    let list = ended.as_array().expect("a list").iter();
    list.map(|line| line["sessions"].as_u64().expect("a count"))
        .sum()
}

/// Session, reason and time of all sessions that are to time out. By a day's timeout, each of
/// them ends at another time, so all are listed.
fn timeouts(foretold: &Value) -> Vec<(String, String, i64)> {
    let listed = foretold["differences"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let timeouts = listed.filter_map(|difference| {
        let fate = &difference["simulated"];
        let reason = text(&fate["reason"]).filter(|reason| reason.ends_with("_timeout"))?;
        let session = text(&difference["session_id"])?;
        Some((session, reason, millis(fate["ended_at"].as_str()?)))
    });
    timeouts.collect()
}
