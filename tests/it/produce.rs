//! `sundown produce`, `logout` and `revoke` on a real cluster.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde_json::json;
use tempfile::NamedTempFile;

use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::process::{Launch, Stream};
use crate::support::topic::{Isolation, Record};
use crate::support::wait::eventually;

const SOON: Duration = Duration::from_secs(60);
/// Events a second at which a topic can be read to its end while they are written.
const SLOW: &str = "2";

/// An installation with nothing but its topic of session events.
struct Installation {
    kafka: &'static Kafka,
    prefix: String,
}

impl Installation {
    fn new(partitions: i32) -> Self {
        let (kafka, prefix) = (Kafka::shared(), unique_prefix("produce"));
        kafka.create_topic(&(prefix.clone() + "session_logs"), partitions, &[]);
        Self { kafka, prefix }
    }

    fn launch(&self, args: &[&str]) -> Launch {
        let connection = ["-b", self.kafka.bootstrap(), "--topic-prefix", &self.prefix];
        Launch::sundown().args(args).args(connection)
    }

    /// What the command printed, and whether it succeeded.
    fn run(&self, args: &[&str]) -> (bool, String, String) {
        let mut process = self.launch(args).start();
        let success = process.wait(SOON).success();
        (
            success,
            process.text(Stream::Stdout),
            process.text(Stream::Stderr),
        )
    }

    fn records(&self) -> Vec<Record> {
        let topic = self.prefix.clone() + "session_logs";
        self.kafka.read(&topic, Isolation::ReadCommitted)
    }
}

fn file(lines: &[&str]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    for line in lines {
        writeln!(file, "{line}").expect("a line");
    }
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().expect("a path in UTF-8")
}

fn key(record: &Record) -> &str {
    let key = record.key.as_deref().expect("the record has a key");
    str::from_utf8(key).expect("the key is UTF-8")
}

#[test]
fn sessions_are_on_the_partitions_where_the_java_client_puts_them() {
    // Keys and hashes of Kafka's own test of its partitioner, UtilsTest.testMurmur2.
    let vectors = [
        ("21", -973_932_308_i32),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
        ("abc", 479_470_107),
    ];
    let partitions = 7;
    let installation = Installation::new(partitions);
    let lines: Vec<_> = vectors
        .iter()
        .map(|(id, _)| json!({"user_id": 1, "session_id": id, "activity_timestamp": 0}).to_string())
        .collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let (success, stdout, stderr) = installation.run(&["produce", "--from", path(&file(&lines))]);
    assert!(success, "{stderr}");
    assert!(stdout.starts_with("wrote 6 events in "), "{stdout}");

    let expected: BTreeMap<_, _> = vectors
        .iter()
        .map(|(id, hash)| (*id, (hash & 0x7fff_ffff) % partitions))
        .collect();
    let records = installation.records();
    let found: BTreeMap<_, _> = records
        .iter()
        .map(|record| (key(record), record.partition))
        .collect();
    assert_eq!(found, expected);
}

const GOOD: &str =
    r#"{"session_id":"a",  "user_id":"u", "activity_timestamp":"2025-02-07T12:00:00Z"}"#;
const BAD: [&str; 2] = ["nonsense", r#"{"user_id":1,"activity_timestamp":0}"#];

#[test]
fn lines_that_are_no_events_are_refused_by_number_and_the_others_written() {
    let installation = Installation::new(3);
    let lines = file(&[BAD[0], GOOD, "", BAD[1], GOOD]);
    let (success, stdout, stderr) = installation.run(&["produce", "--from", path(&lines)]);
    assert!(!success, "what was asked for was not done");
    assert!(stdout.contains("wrote 2 events"), "{stdout}");
    assert!(stdout.contains("rejected 2 lines"), "{stdout}");
    assert!(stderr.contains("line 1 rejected"), "{stderr}");
    assert!(
        stderr.contains("line 4 rejected: session_id is missing"),
        "{stderr}"
    );
    assert!(stderr.contains("--raw"), "{stderr}");

    let records = installation.records();
    let found: Vec<_> = records
        .iter()
        .map(|r| (key(r), r.value.as_deref()))
        .collect();
    assert_eq!(found, [("a", Some(GOOD.as_bytes())); 2]);
}

#[test]
fn raw_lines_are_sent_as_they_are() {
    let installation = Installation::new(1);
    let lines = file(&[BAD[0], GOOD, "", BAD[1]]);
    let (success, _, stderr) = installation.run(&["produce", "--raw", "--from", path(&lines)]);
    assert!(success, "{stderr}");
    let records = installation.records();
    let found: Vec<_> = records
        .iter()
        .map(|record| {
            (
                record.key.as_deref(),
                record.value.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    let expected: [(Option<&[u8]>, &[u8]); 4] = [
        (None, BAD[0].as_bytes()),
        (Some(b"a"), GOOD.as_bytes()),
        (None, b""),
        (None, BAD[1].as_bytes()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn standard_input_is_read_until_its_end() {
    let installation = Installation::new(1);
    let mut process = Launch::program("sh")
        .args([
            "-c",
            r#"printf '%s\n' "$1" "$1" | "$0" produce --from - -b "$2" --topic-prefix "$3""#,
        ])
        .args([
            env!("CARGO_BIN_EXE_sundown"),
            GOOD,
            installation.kafka.bootstrap(),
            &installation.prefix,
        ])
        .start();
    assert!(process.wait(SOON).success());
    assert_eq!(installation.records().len(), 2);
}

#[test]
fn made_up_users_do_the_same_for_the_same_seed() {
    let records = || {
        let installation = Installation::new(3);
        let args = [
            "produce", "--users", "30", "--events", "500", "--rate", "0", "--seed", "7",
        ];
        let (success, stdout, stderr) = installation.run(&args);
        assert!(success, "{stderr}");
        assert!(stdout.starts_with("wrote 500 events of "), "{stdout}");
        let records = installation.records();
        for record in &records {
            assert_eq!(record.json()["session_id"], key(record), "keyed by session");
        }
        let mut events: Vec<_> = records
            .iter()
            .map(|record| {
                let mut event = record.json();
                let at = event["activity_timestamp"].take();
                let at = at
                    .as_str()
                    .and_then(sundown::wire::time::parse)
                    .expect("a time");
                // Up to two seconds late, and up to SOON ago.
                let age = record.timestamp - at.as_millis();
                assert!((-1_000..=62_000).contains(&age), "{age} ms old");
                (record.partition, record.offset, event.to_string())
            })
            .collect();
        events.sort();
        events
    };
    let first = records();
    assert_eq!(first.len(), 500);
    assert_eq!(first, records());
}

#[test]
fn a_topic_is_filled_with_as_many_events_a_session_as_asked_for() {
    let installation = Installation::new(3);
    let args = [
        "produce",
        "--events",
        "1000",
        "--events-per-session",
        "8",
        "--users",
        "50",
    ];
    let (success, stdout, stderr) = installation.run(&args);
    assert!(success, "{stderr}");
    assert!(
        stdout.starts_with("wrote 1000 events of 125 sessions"),
        "{stdout}"
    );
    let mut sessions = BTreeMap::<String, u32>::new();
    for record in installation.records() {
        *sessions.entry(key(&record).to_owned()).or_default() += 1;
    }
    assert_eq!(sessions.len(), 125);
    assert!(sessions.values().all(|count| *count == 8), "{sessions:?}");
}

#[test]
fn a_signal_ends_it_when_everything_is_written() {
    let installation = Installation::new(1);
    let mut process = installation.launch(&["produce", "--rate", SLOW]).start();
    eventually(SOON, "events", || {
        (!installation.records().is_empty()).then_some(())
    });
    process.sigterm();
    assert!(process.wait(SOON).success());
    let expected = format!("wrote {} events of ", installation.records().len());
    let stdout = process.text(Stream::Stdout);
    assert!(stdout.starts_with(&expected), "{expected}: {stdout}");
}

#[test]
fn a_broker_that_dies_meanwhile_is_reported() {
    let kafka = Kafka::own(1);
    kafka.create_topic("session_logs", 1, &[]);
    let mut process = Launch::sundown()
        .args(["produce", "--rate", SLOW, "-b", kafka.bootstrap()])
        .args(["-X", "message.timeout.ms=10000"])
        .start();
    let read = || kafka.read("session_logs", Isolation::ReadCommitted);
    eventually(SOON, "events", || (!read().is_empty()).then_some(()));
    kafka.kill(1);
    assert!(!process.wait(SOON).success());
    let stderr = process.text(Stream::Stderr);
    let expected = format!("were not written to session_logs at {}", kafka.bootstrap());
    assert!(stderr.contains(&expected), "{stderr}");
    assert!(stderr.contains("check that the brokers are up"), "{stderr}");
}

#[test]
fn a_logout_of_a_session_is_on_its_partition() {
    let installation = Installation::new(7);
    let (success, _, stderr) = installation.run(&["logout", "--session", "abc"]);
    assert!(success, "{stderr}");
    let records = installation.records();
    let [record] = records.as_slice() else {
        panic!("{records:?}")
    };
    // The hash of "abc" in Kafka's own test.
    assert_eq!((key(record), record.partition), ("abc", 479_470_107 % 7));
    let event = record.json();
    assert_eq!(
        (&event["session_id"], &event["event"]),
        (&json!("abc"), &json!("logout"))
    );
    assert_eq!(event.get("user_id"), None);
}

#[test]
fn a_logout_of_a_user_is_on_every_partition() {
    let installation = Installation::new(5);
    for (args, user, kind) in [
        (["logout", "--user", "123"].as_slice(), json!(123), "logout"),
        (
            &["logout", "--user", "123", "--string"],
            json!("123"),
            "logout",
        ),
        (&["revoke", "--user", "joe"], json!("joe"), "revoke"),
    ] {
        let before = installation.records().len();
        let (success, stdout, stderr) = installation.run(args);
        assert!(success, "{stderr}");
        assert!(stdout.contains("all 5 partitions"), "{stdout}");
        let records = installation.records();
        assert_eq!(records.len(), before + 5);
        for partition in 0..5 {
            let last = records.iter().rfind(|record| record.partition == partition);
            let event = last.expect("a record").json();
            assert_eq!((&event["user_id"], &event["event"]), (&user, &json!(kind)));
            assert_eq!(event.get("session_id"), None);
        }
    }
}

#[test]
fn a_missing_topic_is_reported_and_never_created() {
    let kafka = Kafka::shared();
    let installation = Installation {
        kafka,
        prefix: unique_prefix("produce"),
    };
    for args in [
        ["produce", "--events", "1"].as_slice(),
        &["logout", "--session", "a"],
    ] {
        let (success, _, stderr) = installation.run(args);
        assert!(!success);
        assert!(
            stderr.contains("create them with: sundown topics create"),
            "{stderr}"
        );
    }
    let (_, described, _) = installation.run(&["topics", "describe", "-o", "json"]);
    assert_eq!(described.trim(), "[]");
}
