//! Session events on any partition: keyed by other partitioners, without keys, on one partition
//! only.

use std::thread;
use std::time::Duration;

use serde_json::json;
use sundown::clock::Clock;
use sundown::wire::partitioner::murmur2_partition;

use crate::support::installation::{Installation, PARTITIONS, SOON};
use crate::support::kafka::Kafka;
use crate::support::model::{Ending, Limits};
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const LIMITS: Limits = Limits {
    idle: 4_000,
    absolute: None,
    lateness: 1_000,
};
const FORWARDED: &str = "sundown_tracker_forwarded_events_total";

/// A way in which a producer distributes the events of a session.
type Distribution = fn(session: &str, number: i32) -> NewRecord;

fn by_key(session: &str, _: i32) -> NewRecord {
    NewRecord::new(session, "")
}

/// As the default partitioner of librdkafka does.
fn by_crc32(session: &str, _: i32) -> NewRecord {
    NewRecord {
        partition: Some((crc32(session.as_bytes()) % PARTITIONS.cast_unsigned()).cast_signed()),
        ..NewRecord::new(session, "")
    }
}

fn without_key(_: &str, number: i32) -> NewRecord {
    NewRecord {
        partition: Some(number % PARTITIONS),
        key: None,
        ..NewRecord::default()
    }
}

/// As a JSON serializer of keys does.
fn by_quoted_key(session: &str, _: i32) -> NewRecord {
    NewRecord::new(format!("\"{session}\""), "")
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn event(session: &str, user: &str, kind: &str) -> Vec<u8> {
    let now = Clock::default().wall().as_millis();
    let event =
        json!({"session_id": session, "user_id": user, "activity_timestamp": now, "event": kind});
    event.to_string().into_bytes()
}

/// Writes activity of each session in turn by each distribution, for twice the idle timeout, so
/// that each distribution alone would leave every session idle for longer than that. Then waits
/// until all have ended.
fn assert_one_session_each(installation: &Installation<'_>, distributions: &[Distribution]) {
    let sessions: Vec<String> = (0..12)
        .map(|one| installation.key_on(one % PARTITIONS))
        .collect();
    let logs = installation.session_logs();
    for (turn, distribution) in distributions.iter().cycle().take(9).enumerate() {
        let turn = i32::try_from(turn).unwrap();
        let records = sessions.iter().zip(0..).map(|(session, number)| NewRecord {
            value: Some(event(session, "ann", "activity")),
            ..distribution(session, turn + number)
        });
        installation.kafka.produce(&logs, records);
        thread::sleep(Duration::from_secs(1));
    }
    let endings = eventually(SOON, "the sessions' ends", || {
        let endings = installation.endings();
        (endings.len() >= sessions.len()).then_some(endings)
    });
    installation.await_nothing_left();
    let mut ended: Vec<&String> = endings.iter().map(|ending| &ending.session).collect();
    let mut expected: Vec<&String> = sessions.iter().collect();
    ended.sort();
    expected.sort();
    assert_eq!(ended, expected, "each ended once");
    assert_eq!(installation.endings().len(), sessions.len());
    let lifetimes = endings
        .iter()
        .map(|ending| ending.last_activity.unwrap() - ending.started_at.unwrap());
    assert!(lifetimes.min().unwrap() >= 8_000, "{endings:?}");
}

fn started(installation: &Installation<'_>, count: usize, flags: &[&str]) -> Vec<RoleProcess> {
    let trackers: Vec<_> = (0..count).map(|_| installation.tracker(flags)).collect();
    trackers.iter().for_each(RoleProcess::await_ready);
    trackers
}

fn forwarded(trackers: &[RoleProcess], cause: &str) -> u64 {
    let cause = format!("cause=\"{cause}\"");
    trackers
        .iter()
        .map(|one| one.metric(FORWARDED, &cause))
        .sum()
}

#[test]
fn producers_with_other_partitioners_and_without_keys_share_sessions() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let trackers = started(&installation, 2, &[]);
    assert_one_session_each(&installation, &[by_key, by_crc32, without_key]);
    eventually(SOON, "counts of both causes", || {
        let counts = ["partitioner", "no_key"].map(|cause| forwarded(&trackers, cause));
        (!counts.contains(&0)).then_some(())
    });
    let logs: String = trackers.iter().map(RoleProcess::log).collect();
    assert!(logs.contains("partitioner=murmur2_random"), "{logs}");
    assert!(logs.contains("the record has no key"), "{logs}");
    trackers.into_iter().for_each(RoleProcess::stop);
}

#[test]
fn a_producer_with_quoted_keys_shares_sessions() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let trackers = started(&installation, 1, &[]);
    assert_one_session_each(&installation, &[by_key, by_quoted_key]);
    eventually(SOON, "a count", || {
        (forwarded(&trackers, "quoted_key") > 0).then_some(())
    });
    trackers.into_iter().for_each(RoleProcess::stop);
}

#[test]
fn at_least_once_delivery_forwards_as_well() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let trackers = started(&installation, 2, &["--delivery", "at-least-once"]);
    assert_one_session_each(&installation, &[by_crc32, without_key]);
    trackers.into_iter().for_each(RoleProcess::stop);
}

#[test]
fn sessions_are_routed_by_user_where_that_is_asked_for() {
    let installation = Installation::new(Kafka::shared(), LIMITS);
    let trackers = started(&installation, 1, &["--routing-key", "user_id"]);
    assert_one_session_each(&installation, &[by_key, without_key]);
    let checkpoints = installation.read("sundown.checkpoint");
    let partition = checkpoints[0].partition;
    assert!(
        checkpoints
            .iter()
            .all(|record| record.partition == partition)
    );
    trackers.into_iter().for_each(RoleProcess::stop);
}

#[test]
fn partitions_can_be_added_while_sessions_live() {
    // Longer than a tracker takes to start, during which nothing is written.
    let idle = 20_000;
    let installation = Installation::new(Kafka::shared(), Limits { idle, ..LIMITS });
    let mut trackers = started(&installation, 2, &[]);
    let sessions: Vec<String> = (0..12)
        .map(|one| installation.key_on(one % PARTITIONS))
        .collect();
    let logs = installation.session_logs();
    let grown = 2 * PARTITIONS;
    for turn in 0..30 {
        if turn == 3 {
            installation.run(&["topics", "grow", "--partitions", &grown.to_string()]);
        }
        if turn == 15 {
            // A tracker that starts now continues with the distribution of the others.
            trackers.remove(0).kill();
            trackers.extend(started(&installation, 1, &[]));
        }
        let partitions = if turn > 3 { grown } else { PARTITIONS };
        let records = sessions.iter().map(|session| NewRecord {
            value: Some(event(session, "ann", "activity")),
            // As a producer that has found the new partitions chooses it.
            partition: murmur2_partition(Some(session.as_bytes()), partitions),
            ..NewRecord::new(session.as_str(), "")
        });
        installation.kafka.produce(&logs, records);
        thread::sleep(Duration::from_secs(1));
    }
    let endings = eventually(SOON, "the sessions' ends", || {
        let endings = installation.endings();
        (endings.len() >= sessions.len()).then_some(endings)
    });
    installation.await_nothing_left();
    assert_eq!(
        installation.endings().len(),
        sessions.len(),
        "each ended once"
    );
    let lifetimes = endings
        .iter()
        .map(|ending| ending.last_activity.unwrap() - ending.started_at.unwrap());
    assert!(lifetimes.min().unwrap() >= 29_000, "{endings:?}");
    trackers.into_iter().for_each(RoleProcess::stop);
}

#[test]
fn one_revocation_of_a_user_is_forwarded_to_added_partitions() {
    let idle = 600_000;
    let installation = Installation::new(Kafka::shared(), Limits { idle, ..LIMITS });
    let trackers = started(&installation, 1, &[]);
    let logs = installation.session_logs();
    let revoke = |user: &str| {
        let now = Clock::default().wall().as_millis();
        let event = json!({"user_id": user, "activity_timestamp": now, "event": "revoke"});
        let record = NewRecord::new(user, event.to_string());
        installation.kafka.produce(&logs, [record]);
    };
    // From now on, the tracker's producer knows the topic.
    revoke("bob");
    trackers[0].await_metric(FORWARDED, "single_partition", 1);
    let grown = 2 * PARTITIONS;
    installation.run(&["topics", "grow", "--partitions", &grown.to_string()]);
    trackers[0].await_message("partitions were added");

    let session = installation.key_on(0);
    let login = NewRecord {
        partition: Some(0),
        ..NewRecord::new(session.as_str(), event(&session, "ann", "login"))
    };
    installation.kafka.produce(&logs, [login]);
    installation.await_checkpoint(&session);
    revoke("ann");
    let endings = eventually(SOON, "the session's end", || {
        let endings = installation.endings();
        (!endings.is_empty()).then_some(endings)
    });
    assert_eq!(endings[0].reason, "revoked");
    assert_eq!(endings.len(), 1);
    let log = trackers[0].log();
    assert!(!log.contains("UnknownPartition"), "{log}");
    trackers.into_iter().for_each(RoleProcess::stop);
}

#[test]
fn one_revocation_of_a_user_reaches_sessions_on_all_partitions() {
    let idle = 15_000;
    let installation = Installation::new(Kafka::shared(), Limits { idle, ..LIMITS });
    let trackers = started(&installation, 2, &[]);
    let sessions: Vec<String> = (0..6)
        .map(|one| installation.key_on(one % PARTITIONS))
        .collect();
    let logs = installation.session_logs();
    let other = installation.key_on(0);
    let logins = sessions
        .iter()
        .map(|one| NewRecord::new(one.as_str(), event(one, "ann", "login")));
    let other_login = NewRecord::new(other.as_str(), event(&other, "bob", "login"));
    installation
        .kafka
        .produce(&logs, logins.chain([other_login]));
    sessions
        .iter()
        .for_each(|one| installation.await_checkpoint(one));

    let now = Clock::default().wall().as_millis();
    let revoke = json!({"user_id": "ann", "activity_timestamp": now, "event": "revoke"});
    installation
        .kafka
        .produce(&logs, [NewRecord::new("ann", revoke.to_string())]);

    let endings = eventually(SOON, "the end of all sessions", || {
        let endings = installation.endings();
        (endings.len() > sessions.len()).then_some(endings)
    });
    let revoked = |ending: &&Ending| ending.reason == "revoked";
    let mut ended: Vec<_> = endings
        .iter()
        .filter(revoked)
        .map(|one| one.session.clone())
        .collect();
    ended.sort();
    let mut expected = sessions;
    expected.sort();
    assert_eq!(ended, expected);
    installation.await_nothing_left();
    assert_eq!(installation.endings().len(), expected.len() + 1);
    // One copy for each other partition, and no copies of copies.
    assert_eq!(forwarded(&trackers, "single_partition"), 1);
    trackers.into_iter().for_each(RoleProcess::stop);
}
