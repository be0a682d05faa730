//! Logouts and revocations of many sessions: by user, by attributes, of all.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sundown::clock::Clock;
use sundown::wire::forwarded::Forwarded;

use crate::support::installation::{Installation, PARTITIONS, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::process::{Launch, SUNDOWN, Stream};
use crate::support::topic::{NewRecord, Record};
use crate::support::wait::eventually;

const LONG: &[&str] = &["--idle-timeout", "1h", "--absolute-timeout", "2h"];

/// Writes logins of two sessions per partition; returns their ids.
fn log_in(installation: &Installation<'_>, user: i64, tenant: &str) -> BTreeSet<String> {
    let partitions = (0..PARTITIONS).chain(0..PARTITIONS);
    let ids: BTreeSet<String> = partitions
        .map(|partition| installation.key_on(partition))
        .collect();
    let events = ids.iter().map(|id| {
        let event = json!({
            "user_id": user, "session_id": id, "event": "login", "attributes": {"tenant": tenant},
            "activity_timestamp": Clock::default().wall().as_millis(),
        });
        NewRecord::new(id.as_str(), event.to_string())
    });
    let logs = installation.session_logs();
    installation
        .kafka
        .produce(&logs, events.collect::<Vec<_>>());
    ids
}

fn await_endings(installation: &Installation<'_>, count: usize) -> Vec<Value> {
    eventually(SOON, &format!("{count} endings"), || {
        let endings = installation.read("expired_sessions");
        (endings.len() >= count).then(|| endings.iter().map(Record::json).collect())
    })
}

fn ids(endings: &[Value]) -> BTreeSet<String> {
    let ids = endings
        .iter()
        .filter_map(|ending| ending["session_id"].as_str());
    ids.map(str::to_owned).collect()
}

#[test]
fn revocations_by_attribute_by_user_and_of_all_reach_every_partition() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let acme = log_in(&installation, 1, "acme");
    let globex = log_in(&installation, 2, "globex");
    let initech = log_in(&installation, 3, "initech");
    installation.run(&[
        "revoke",
        "--attribute",
        "tenant=acme",
        "--by",
        "ann",
        "--note",
        "contract ended",
        "--yes",
    ]);
    let endings = await_endings(&installation, acme.len());
    assert_eq!(ids(&endings), acme);
    for ending in &endings {
        assert_eq!(ending["reason"], "revoked");
        assert_eq!(
            ending["initiator"],
            json!({"by": "ann", "note": "contract ended"})
        );
    }

    let kept = globex.iter().next().expect("a session");
    installation.run(&["revoke", "--user", "2", "--except", kept]);
    let expected: BTreeSet<_> = acme
        .union(&globex)
        .filter(|id| *id != kept)
        .cloned()
        .collect();
    let endings = await_endings(&installation, expected.len());
    assert_eq!(ids(&endings), expected);

    installation.run(&["revoke", "--all", "--yes"]);
    let all: BTreeSet<_> = expected
        .union(&initech)
        .cloned()
        .chain([kept.clone()])
        .collect();
    let endings = await_endings(&installation, all.len());
    assert_eq!(ids(&endings), all);
    assert_eq!(endings.len(), all.len(), "each ends once");
    tracker.stop();
}

/// Runs a subcommand on a terminal, with an answer to its question; returns what it shows.
fn run_on_terminal(installation: &Installation<'_>, answer: &str, args: &[&str]) -> String {
    let script = "echo $0 | script -qec \"$*\" /dev/null";
    let launch = Launch::program("sh").args(["-c", script, answer, SUNDOWN]);
    let mut command = installation.connect(launch.args(args)).start();
    command.wait(SOON);
    command.text(Stream::Stdout)
}

#[test]
fn a_revocation_of_many_users_shows_their_number_and_has_to_be_confirmed() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let acme = log_in(&installation, 1, "acme");
    let globex = log_in(&installation, 2, "globex");
    let written = acme.len() + globex.len();
    let started = "sundown_tracker_sessions_started_total";
    tracker.await_metric(started, "", written as u64);
    for (args, count) in [
        (["revoke", "--all"].as_slice(), 12),
        (&["logout", "--attribute", "tenant=acme"], 6),
    ] {
        let mut command = installation.sundown(args).start();
        assert_eq!(command.wait(SOON).code(), Some(1));
        let stderr = command.text(Stream::Stderr);
        assert!(stderr.contains(&format!("end: {count};")), "{stderr}");
        assert!(stderr.contains("pass --yes to confirm"), "{stderr}");
        let shown = run_on_terminal(&installation, "n", args);
        assert!(shown.contains(&format!("end: {count}.")), "{shown}");
        assert!(shown.contains("no session was ended"), "{shown}");
    }
    let kept = globex.iter().next().expect("a session");
    let rest = ["revoke", "--user", "2", "--except", kept];
    let shown = run_on_terminal(&installation, "n", &rest);
    assert!(shown.contains("end: 5."), "{shown}");
    assert_eq!(installation.read("session_logs").len(), written);

    let shown = run_on_terminal(&installation, "y", &rest);
    assert!(shown.contains("written to all 3 partitions"), "{shown}");
    let endings = await_endings(&installation, 5);
    assert!(ids(&endings).is_subset(&globex));
    assert!(!ids(&endings).contains(kept));
    tracker.stop();
}

/// Enough for several slices of the live sessions.
const MANY: usize = 150_000;

#[test]
fn a_revocation_of_all_delays_neither_logouts_nor_activity() {
    let installation = Installation::with_partitions(Kafka::shared(), SHORT, 1);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let (logs, writer) = (installation.session_logs(), installation.kafka.writer());
    writer.write(&logs, (0..MANY).map(|number| event(&many(number), "login")));
    let started = "sundown_tracker_sessions_started_total";
    tracker.await_metric(started, "", MANY as u64);
    installation.run(&["revoke", "--all", "--by", "ann", "--yes"]);

    // Sessions of later logins, and activity of revoked ones, until the last of these has ended.
    let revoked = "sundown_tracker_endings_total";
    let mut rounds = 0..MANY;
    while tracker.metric(revoked, r#"reason="revoked""#) < MANY as u64 {
        let number = rounds.next().expect("an end of all sessions");
        let (left, active) = (format!("left-{number}"), format!("active-{number}"));
        let events = [
            event(&left, "login"),
            event(&active, "login"),
            event(&many(number), "activity"),
            event(&left, "logout"),
            event(&active, "activity"),
        ];
        writer.write(&logs, events);
        assert_eq!(tracker.liveness()["ok"], true);
    }
    let others = rounds.start;
    tracker.await_metric(revoked, r#"reason="logout""#, others as u64);
    tracker.stop();

    let mut endings = BTreeMap::new();
    for record in installation.read("expired_sessions") {
        let ending = record.json();
        let session = ending["session_id"].as_str().expect("a session").to_owned();
        let reason = ending["reason"].as_str().expect("a reason").to_owned();
        assert_eq!(ending["initiator"]["by"] == "ann", reason == "revoked");
        let again = endings.insert(session, (reason, record.offset));
        assert_eq!(again, None, "it ends once: {ending}");
    }
    let offsets = |prefix: &str, reason: &str| -> Vec<i64> {
        let ended = endings.iter().filter(|(id, _)| id.starts_with(prefix));
        let ended = ended.map(|(id, ending)| (id, &ending.0, ending.1));
        ended
            .map(|(id, found, offset)| {
                assert_eq!(found, reason, "{id}");
                offset
            })
            .collect()
    };
    let revoked = offsets("many-", "revoked");
    let left = offsets("left-", "logout");
    assert_eq!((revoked.len(), left.len()), (MANY, others));
    assert_eq!(offsets("active-", "").len(), 0, "they live on");
    assert!(left.iter().min() < revoked.iter().max(), "logouts waited");
}

fn many(number: usize) -> String {
    format!("many-{number}")
}

fn event(session: &str, kind: &str) -> NewRecord {
    let now = Clock::default().wall().as_millis();
    let event = json!({
        "user_id": 1, "session_id": session, "event": kind, "activity_timestamp": now,
    });
    NewRecord::new(session, event.to_string())
}

#[test]
fn of_two_ends_at_the_same_time_the_one_that_is_read_first_counts() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = installation.tracker(LONG);
    tracker.await_ready();
    let sessions = log_in(&installation, 1, "acme");
    let now = Clock::default().wall().as_millis();
    let revocations = sessions.iter().map(|id| {
        let event = json!({
            "user_id": 1, "session_id": id, "event": "revoke", "activity_timestamp": now,
        });
        NewRecord::new(id.as_str(), event.to_string())
    });
    let event = json!({"user_id": 1, "event": "logout", "activity_timestamp": now});
    let logouts = (0..PARTITIONS).map(|partition| NewRecord {
        partition: Some(partition),
        ..NewRecord::new(Forwarded::copies(PARTITIONS).encode(), event.to_string())
    });
    let logs = installation.session_logs();
    let events: Vec<_> = revocations.chain(logouts).collect();
    installation.kafka.produce(&logs, events);

    let expected = installation.verify();
    assert_eq!(expected.endings.len(), sessions.len());
    for ending in expected.endings {
        assert_eq!(ending.reason, "revoked");
    }
    tracker.stop();
}
