//! Malformed and implausible records.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use sundown::clock::Clock;

use crate::support::installation::{Installation, PARTITIONS, SHORT};
use crate::support::kafka::Kafka;
use crate::support::role::RoleProcess;
use crate::support::topic::{NewRecord, Record};

/// A value of exactly that many bytes that starts as an event does.
fn large(bytes: usize) -> Vec<u8> {
    let mut value = br#"{"user_id": 1, "session_id": "a", "activity_timestamp": 0, "#.to_vec();
    value.resize(bytes, b'x');
    value
}

/// What is put aside, by the reason that is given for it.
fn unusable() -> Vec<(&'static str, Vec<u8>)> {
    let event = |field: &str, value: Value| {
        let mut event = json!({"user_id": 1, "session_id": "a", "activity_timestamp": 0});
        match value {
            Value::Null => drop(event.as_object_mut().unwrap().remove(field)),
            value => event[field] = value,
        }
        event.to_string().into_bytes()
    };
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("malformed", text("")),
        ("malformed", text("nonsense")),
        ("malformed", text("null")),
        ("malformed", text("[1, 2]")),
        ("malformed", text("\"event\"")),
        ("malformed", text(r#"{"user_id": 1, "session_id": "a""#)),
        (
            "malformed",
            text(r#"{"session_id": "a", "session_id": "b"}"#),
        ),
        ("malformed", b"{\"session_id\": \"\xff\xfe\"}".to_vec()),
        ("malformed", b"\x00\x01\x02\xff".to_vec()),
        ("malformed", "[".repeat(100_000).into_bytes()),
        ("malformed", large(900_000)),
        // The broker's limit of a record with these headers.
        ("malformed", large(1_048_000)),
        ("invalid_field", event("session_id", json!(5.5))),
        ("malformed", event("event", json!(7))),
        ("missing_field", event("session_id", Value::Null)),
        ("missing_field", event("user_id", Value::Null)),
        ("missing_field", text("{}")),
        ("implausible_time", event("activity_timestamp", json!(0))),
        ("implausible_time", event("activity_timestamp", json!(1.5))),
        ("invalid_field", event("session_id", json!(""))),
        ("invalid_field", event("session_id", json!("x".repeat(513)))),
        ("invalid_field", event("user_id", json!(""))),
        ("invalid_field", event("user_id", json!(true))),
        ("invalid_field", event("user_id", json!({"id": 1}))),
        ("invalid_field", event("event", json!("dance"))),
        (
            "invalid_field",
            event("activity_timestamp", json!("yesterday")),
        ),
        (
            "invalid_field",
            event("activity_timestamp", json!("2025-02-30T00:00:00Z")),
        ),
        ("invalid_field", event("activity_timestamp", json!(true))),
        ("invalid_field", event("activity_timestamp", json!(1e21))),
        ("invalid_field", event("activity_timestamp", json!(-1e20))),
    ]
}

/// Good events, whose sessions have to end as if there were nothing else.
fn session_of(installation: &Installation<'_>, partition: i32) -> Vec<NewRecord> {
    let session = installation.key_on(partition);
    let now = Clock::default().wall().as_millis();
    let event = |at: i64| {
        let event = json!({"user_id": 1, "session_id": session, "activity_timestamp": at});
        NewRecord::new(session.as_str(), event.to_string())
    };
    vec![event(now), event(now + 1)]
}

fn started(installation: &Installation<'_>) -> RoleProcess {
    let tracker = installation.tracker(&[]);
    tracker.await_ready();
    // There is a watermark from now on, so that old events are recognized.
    installation.await_caught_up();
    tracker
}

#[test]
fn what_is_no_session_event_is_put_aside_untouched_and_the_rest_goes_on() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let tracker = started(&installation);
    let logs = installation.session_logs();
    let mut sent = Vec::new();
    let mut good = Vec::new();
    for (number, (reason, value)) in unusable().into_iter().enumerate() {
        let record = NewRecord {
            headers: vec![("trace".to_owned(), number.to_string().into_bytes())],
            ..NewRecord::new(format!("key-{number}"), value)
        };
        sent.push((reason, record));
    }
    // Without a value, without a key, with a key that is no text.
    let nothing = NewRecord::default();
    for key in [None, Some(b"key".to_vec()), Some(b"\xff\x00".to_vec())] {
        let record = NewRecord {
            key,
            ..nothing.clone()
        };
        sent.push(("no_value", record));
    }
    let mut written = Vec::new();
    for ((_, record), partition) in sent.iter().zip((0..PARTITIONS).cycle()) {
        let around = session_of(&installation, partition);
        good.extend(around.iter().filter_map(|record| record.key.clone()));
        let [before, after] = &around[..] else {
            unreachable!("two events")
        };
        let three = [before.clone(), record.clone(), after.clone()];
        written.push(installation.kafka.produce(&logs, three)[1]);
    }
    installation.await_caught_up();

    let letters = installation.read("session_logs.dlq");
    assert_eq!(letters.len(), sent.len());
    for ((reason, record), position) in sent.iter().zip(&written) {
        assert_dead_letter(&letters, &logs, reason, record, *position);
    }
    let put_aside = tracker.metric("sundown_tracker_dead_letters_total", "");
    assert_eq!(put_aside, sent.len() as u64);

    // Every good session ended once; the model reads no bad record.
    installation.await_nothing_left();
    let endings = installation.endings();
    good.dedup();
    for session in good {
        let of_session =
            |ending: &&crate::support::model::Ending| ending.session.as_bytes() == session;
        assert_eq!(endings.iter().filter(of_session).count(), 1);
    }
    tracker.stop();
}

fn assert_dead_letter(
    letters: &[Record],
    logs: &str,
    reason: &str,
    record: &NewRecord,
    (partition, offset): (i32, i64),
) {
    let (partition, offset) = (partition.to_string(), offset.to_string());
    let is_it = |letter: &&Record| {
        letter.header("sundown-dlq-source-partition") == Some(&partition)
            && letter.header("sundown-dlq-source-offset") == Some(&offset)
    };
    let shown = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
    let shown = &shown[..shown.len().min(100)];
    let letter = letters
        .iter()
        .find(is_it)
        .unwrap_or_else(|| panic!("no dead letter of '{shown}'"));
    assert!(letter.value == record.value, "the value of '{shown}'");
    assert_eq!(letter.key, record.key, "{shown}");
    assert!(
        letter.headers.starts_with(&record.headers),
        "the source's headers come first: {:?}",
        letter.headers
    );
    assert_eq!(letter.header("sundown-dlq-reason"), Some(reason), "{shown}");
    assert_eq!(letter.header("sundown-dlq-source-topic"), Some(logs));
    assert_eq!(letter.header("sundown-dlq-attempts"), Some("1"));
    let error = letter.header("sundown-dlq-error").expect("an error");
    assert!(!error.is_empty() && error.len() <= 1024, "{error}");
    assert!(letter.header("sundown-dlq-source-timestamp").is_some());
}

#[test]
fn absurd_times_are_counted_or_rejected_and_end_no_session() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let now = Clock::default().wall().as_millis();
    let tracker = started(&installation);
    let logs = installation.session_logs();
    let too_old = [json!(now - 3_600_000), json!((now - 3_600_000) / 1000)];
    let implausible = [
        json!("0001-01-01T00:00:00Z"),
        json!("1969-12-31T23:59:59.999Z"),
        json!("2001-09-09T01:46:40+14:00"),
        json!(0),
        json!(-1),
        json!(-62_135_596_800_000_i64),
    ];
    let too_new = [
        json!("9999-12-31T23:59:59.999Z"),
        json!("2525-01-01T00:00:00-12:00"),
        json!(4_102_444_800_000_i64),
        json!(now + 3_600_000),
    ];
    let times = too_old.iter().chain(&implausible).chain(&too_new);
    for (at, partition) in times.zip((0..PARTITIONS).cycle()) {
        // Once in a session of its own, and once within one of right times.
        let alone = installation.key_on(partition);
        let event = |session: &[u8]| {
            let session = str::from_utf8(session).expect("an id");
            let event = json!({"user_id": 1, "session_id": session, "activity_timestamp": at});
            NewRecord::new(session, event.to_string())
        };
        let around = session_of(&installation, partition);
        let session = around[0].key.clone().expect("a key");
        let [before, after] = &around[..] else {
            unreachable!("two events")
        };
        let events = [
            before.clone(),
            event(&session),
            event(alone.as_bytes()),
            after.clone(),
        ];
        installation.kafka.produce(&logs, events);
    }
    installation.await_caught_up();
    installation.await_nothing_left();

    let endings = installation.endings();
    let probes = 2 * usize::try_from(PARTITIONS).expect("a few");
    let ended = too_old.len() + implausible.len() + 2 * too_new.len();
    assert_eq!(
        endings.len(),
        probes + ended,
        "sessions that are too old neither start nor end; all others end once"
    );
    let latest = Clock::default().wall().as_millis();
    for ending in &endings {
        assert!((now..=latest).contains(&ending.ended_at), "{ending:?}");
    }
    let letters = installation.read("session_logs.dlq");
    assert_eq!(letters.len(), 2 * implausible.len());
    for letter in letters {
        assert_eq!(
            letter.header("sundown-dlq-reason"),
            Some("implausible_time")
        );
    }
    let late = tracker.metric("sundown_tracker_late_events_total", "");
    assert_eq!(late, 2 * too_old.len() as u64);
    let clamped = tracker.metric("sundown_tracker_clamped_events_total", "");
    assert_eq!(clamped, 2 * too_new.len() as u64);
    tracker.stop();
}

#[test]
fn a_record_too_large_for_the_dead_letter_topic_holds_nothing_up() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let letters = installation.topic("session_logs.dlq");
    installation
        .kafka
        .alter_topic(&letters, "max.message.bytes", "100000");
    let tracker = started(&installation);
    let mut bytes = vec![0; 200_000];
    // Nothing that compression makes small.
    ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut bytes);
    let large = NewRecord {
        headers: vec![("trace".to_owned(), b"1".to_vec())],
        ..NewRecord::new("large", bytes)
    };
    let small = NewRecord::new("small", "nonsense");
    let logs = installation.session_logs();
    let written = installation.kafka.produce(&logs, [large, small.clone()]);
    installation.await_caught_up();

    let letters = installation.read("session_logs.dlq");
    assert_eq!(letters.len(), 2);
    assert_dead_letter(&letters, &logs, "malformed", &small, written[1]);
    let letter = letters.iter().find(|letter| letter.value.is_none());
    let letter = letter.expect("a dead letter without its contents");
    assert_eq!(letter.key, None);
    let header = |name: &str| letter.header(name).map(str::to_owned);
    assert_eq!(
        header("sundown-dlq-omitted-bytes").as_deref(),
        Some("200011")
    );
    assert_eq!(
        (
            header("sundown-dlq-source-partition"),
            header("sundown-dlq-source-offset")
        ),
        (
            Some(written[0].0.to_string()),
            Some(written[0].1.to_string())
        )
    );
    installation.await_nothing_left();
    tracker.stop();
}
