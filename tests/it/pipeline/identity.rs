//! The log, its checkpoint and the committed offset belong together, or nothing ends.

use std::time::Duration;
use std::{fs, thread};

use serde_json::{Value, json};
use sundown::clock::Clock;
use sundown::kafka::topic_ids::TopicIds;
use sundown::wire::partitioner::murmur2_partition;

use crate::support::installation::{Installation, PARTITIONS, SOON};
use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::model::Limits;
use crate::support::process::Stream;
use crate::support::topic::{BROKER_TIMEOUT, NewRecord};
use crate::support::wait::eventually;

/// Sessions that do not end within a test.
const LONG: Limits = Limits {
    idle: 3_600_000,
    absolute: None,
    lateness: 1_000,
};

fn send(installation: &Installation<'_>, fields: &Value) {
    let mut event =
        json!({"user_id": "e", "activity_timestamp": Clock::default().wall().as_millis()});
    for (name, value) in fields.as_object().expect("fields") {
        event[name] = value.clone();
    }
    let key = fields["session_id"].as_str().unwrap_or("e").to_owned();
    let record = NewRecord {
        partition: Some(0),
        ..NewRecord::new(key, event.to_string())
    };
    installation
        .kafka
        .produce(&installation.session_logs(), [record]);
}

fn await_endings(installation: &Installation<'_>, count: usize) {
    eventually(SOON, &format!("{count} endings"), || {
        (installation.endings().len() == count).then_some(())
    });
}

/// `sundown state describe`, of the only partition.
fn described(installation: &Installation<'_>) -> Value {
    let mut describe = installation
        .sundown(&["state", "describe", "-o", "json"])
        .start();
    assert!(
        describe.wait(SOON).success(),
        "{}",
        describe.text(Stream::Stderr)
    );
    let reports: Vec<Value> = serde_json::from_str(&describe.text(Stream::Stdout)).expect("JSON");
    assert_eq!(reports.len(), 1);
    reports[0].clone()
}

fn reset(installation: &Installation<'_>, to: &str) {
    let reset = ["state", "reset", "--to", to, "--held", "--yes"];
    let mut reset = installation.sundown(&reset).start();
    assert!(reset.wait(SOON).success(), "{}", reset.text(Stream::Stderr));
}

fn holds(reason: &str, words: &str, to: &str, break_it: impl Fn(&Installation<'_>)) {
    holds_on(Kafka::shared(), (reason, words), to, break_it);
}

/// Starts a session, stops the tracker, breaks something; then a tracker has to hold until the
/// reset, and end the session by its logout afterwards.
fn holds_on(
    kafka: &Kafka,
    (reason, words): (&str, &str),
    to: &str,
    break_it: impl Fn(&Installation<'_>),
) {
    let installation = Installation::with_partitions(kafka, LONG, 1);
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    send(
        &installation,
        &json!({"session_id": "e1", "event": "login"}),
    );
    send(&installation, &json!({"event": "revoke"}));
    await_endings(&installation, 1);
    send(
        &installation,
        &json!({"session_id": "e2", "event": "login"}),
    );
    installation.await_checkpoint("e2");
    tracker.stop();
    assert_eq!(described(&installation)["hold"], Value::Null);
    break_it(&installation);

    let tracker = installation.tracker(&[]);
    tracker.await_unready("state", words);
    let held = tracker.value("sundown_tracker_held_partitions", reason);
    assert_eq!(held, Some(1.0), "{reason}");
    assert_eq!(described(&installation)["hold"], reason);
    reset(&installation, to);
    tracker.await_ready();
    let held = tracker.value("sundown_tracker_held_partitions", reason);
    assert_eq!(held, Some(0.0), "{reason}");
    if to == "now" {
        send(
            &installation,
            &json!({"session_id": "e2", "event": "logout"}),
        );
        await_endings(&installation, 2);
        let endings = installation.endings();
        assert!(
            endings
                .iter()
                .any(|ending| ending.session == "e2" && ending.reason == "logout"),
            "{endings:?}"
        );
    }
    tracker.stop();
    assert_eq!(described(&installation)["hold"], Value::Null);
}

#[test]
fn a_deleted_group_is_held() {
    holds(
        "offset_lost",
        "no committed offset",
        "now",
        |installation| {
            installation.kafka.delete_group(&installation.group());
        },
    );
}

#[test]
fn an_offset_set_by_hand_is_held() {
    holds("offset_foreign", "set by hand", "now", |installation| {
        let logs = installation.session_logs();
        installation
            .kafka
            .commit(&installation.group(), &logs, &[(0, 1)]);
    });
}

/// As after an unclean leader election: what was read is lost, and new events have its offsets.
#[test]
fn a_log_that_was_cut_and_has_grown_again_is_held() {
    let kafka = Kafka::own(1);
    let hold = ("log_truncated", "others have taken their offsets");
    holds_on(&kafka, hold, "now", |installation| {
        let logs = installation.session_logs();
        let group = installation.group();
        let committed = installation.kafka.committed(&group, &logs)[&0].offset;
        kafka.kill(1);
        let partition = kafka.dir().join("node-1/data").join(format!("{logs}-0"));
        for file in fs::read_dir(partition).expect("the partition's folder") {
            let file = file.expect("a file").path();
            if file.extension().is_some_and(|kind| kind != "metadata") {
                fs::remove_file(file).expect("removed");
            }
        }
        kafka.start(1);
        for _ in 0..=committed {
            send(installation, &json!({"session_id": "e3", "event": "login"}));
        }
    });
}

#[test]
fn a_checkpoint_topic_that_was_created_again_is_held() {
    holds(
        "checkpoint_recreated",
        "deleted and created again",
        "beginning",
        |installation| {
            let checkpoint = installation.topic("sundown.checkpoint");
            installation.kafka.delete_topic(&checkpoint);
            installation.create_topics();
        },
    );
}

#[test]
fn a_source_topic_that_was_created_again_is_held() {
    // Brokers delete the committed offsets of deleted topics.
    holds(
        "offset_lost",
        "no committed offset",
        "now",
        |installation| {
            installation
                .kafka
                .delete_topic(&installation.session_logs());
            installation.create_topics();
        },
    );
}

#[test]
fn a_checkpoint_that_lost_a_session_is_held() {
    holds(
        "checkpoint_incomplete",
        "live sessions",
        "beginning",
        |installation| {
            let tombstone = NewRecord {
                partition: Some(0),
                value: None,
                ..NewRecord::new("e2", "")
            };
            let checkpoint = installation.topic("sundown.checkpoint");
            installation.kafka.produce(&checkpoint, [tombstone]);
        },
    );
}

#[test]
fn a_foreign_record_in_the_checkpoint_is_held() {
    holds(
        "checkpoint_unreadable",
        "cannot read",
        "beginning",
        |installation| {
            let foreign = NewRecord {
                partition: Some(0),
                ..NewRecord::new(b"\xff\xfe".to_vec(), b"\xff\x01".to_vec())
            };
            let checkpoint = installation.topic("sundown.checkpoint");
            installation.kafka.produce(&checkpoint, [foreign]);
        },
    );
}

#[test]
fn a_topic_that_is_created_again_has_another_id() {
    let kafka = Kafka::shared();
    let (topic, other) = (unique_prefix("ids") + "a", unique_prefix("ids") + "b");
    kafka.create_topic(&topic, 1, &[]);
    kafka.create_topic(&other, 2, &[]);
    let ids = TopicIds::new(&kafka.client()).expect("a client");
    let fetch = || {
        ids.fetch([&topic, &other], BROKER_TIMEOUT)
            .expect("a response")
    };
    let [first, second] = fetch();
    assert!(
        first.is_some() && second.is_some() && first != second,
        "{first:?} {second:?}"
    );
    assert_eq!(fetch(), [first, second]);
    kafka.delete_topic(&topic);
    kafka.create_topic(&topic, 1, &[]);
    eventually(SOON, "another id", || {
        let [renewed, unchanged] = fetch();
        assert_eq!(unchanged, second);
        renewed.filter(|_| renewed != first)
    });
    // A client that starts afterwards agrees.
    let later = TopicIds::new(&kafka.client()).expect("a client");
    assert_eq!(
        later
            .fetch([&topic, &other], BROKER_TIMEOUT)
            .expect("a response"),
        fetch()
    );
}

#[test]
fn a_topic_with_fewer_partitions_than_sessions_are_on_is_held() {
    let installation = Installation::with_partitions(Kafka::shared(), LONG, 1);
    let metadata = r#"{"v":1,"replay_from":0,"routing":{"partitions":2,"key":"session_id"}}"#;
    let (group, logs) = (installation.group(), installation.session_logs());
    let kafka = installation.kafka;
    kafka.commit_with_metadata(&group, &logs, &[(0, 0)], metadata);
    let tracker = installation.tracker(&[]);
    tracker.await_unready("state", "distributed over 2 partitions");
    assert_eq!(described(&installation)["hold"], "partitions_removed");
    tracker.stop();
    let now = ["state", "reset", "--to", "now", "--held", "--yes"];
    let mut now = installation.sundown(&now).start();
    assert!(!now.wait(SOON).success());
    let refusal = now.text(Stream::Stderr);
    assert!(refusal.contains("use --to beginning"), "{refusal}");
    reset(&installation, "beginning");
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    tracker.stop();
}

#[test]
fn sessions_stay_on_their_partitions_after_partitions_were_added_and_the_group_was_deleted() {
    // Longer than it takes to decide, during which nothing is written.
    let idle = 20_000;
    let installation = Installation::new(Kafka::shared(), Limits { idle, ..LONG });
    let sessions: Vec<String> = (0..12)
        .map(|one| installation.key_on(one % PARTITIONS))
        .collect();
    let act = |partitions: i32| {
        let now = Clock::default().wall().as_millis();
        let records = sessions.iter().map(|session| {
            let event = json!({"session_id": session, "user_id": "e", "activity_timestamp": now});
            NewRecord {
                partition: murmur2_partition(Some(session.as_bytes()), partitions),
                ..NewRecord::new(session.as_str(), event.to_string())
            }
        });
        installation
            .kafka
            .produce(&installation.session_logs(), records);
    };
    let tracker = installation.tracker(&[]);
    act(PARTITIONS);
    sessions
        .iter()
        .for_each(|one| installation.await_checkpoint(one));
    let grown = 2 * PARTITIONS;
    installation.run(&["topics", "grow", "--partitions", &grown.to_string()]);
    tracker.await_message("partitions were added");
    tracker.stop();
    installation.kafka.delete_group(&installation.group());

    let tracker = installation.tracker(&[]);
    tracker.await_unready("state", "no committed offset");
    installation.run(&["state", "reset", "--to", "now", "--held", "--yes"]);
    tracker.await_ready();
    for _ in 0..idle / 1_000 + 10 {
        act(grown);
        thread::sleep(Duration::from_secs(1));
    }
    await_endings(&installation, sessions.len());
    installation.await_nothing_left();
    let mut ended: Vec<String> = installation
        .endings()
        .into_iter()
        .map(|ending| ending.session)
        .collect();
    let mut expected = sessions.clone();
    ended.sort();
    expected.sort();
    assert_eq!(ended, expected, "each ended once");
    tracker.stop();
}
