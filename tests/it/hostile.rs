//! Records that are not what a topic is for: no role panics or restarts because of them.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sundown::clock::Clock;

use crate::raw_records::{RawRecord, put_bytes};
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::process::{Launch, Stream};
use crate::support::role::RoleProcess;
use crate::support::topic::{NewRecord, TOPICS};
use crate::support::wait::eventually;

const SOON: Duration = Duration::from_secs(90);
/// `größe`, in Latin-1: not UTF-8.
const NAME: &[u8] = b"gr\xf6\xdfe";

fn record(key: Option<&[u8]>, value: Option<&[u8]>) -> RawRecord {
    RawRecord {
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: Vec::new(),
    }
}

/// Whether a file below `dir` whose path contains `part` contains `bytes`.
fn is_on_disk(dir: &Path, part: &str, bytes: &[u8]) -> bool {
    let entries = std::fs::read_dir(dir).expect("a directory");
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return is_on_disk(&path, part, bytes);
        }
        let relevant = path.to_string_lossy().contains(part);
        relevant
            && std::fs::read(&path)
                .is_ok_and(|content| content.windows(bytes.len()).any(|window| window == bytes))
    })
}

#[test]
fn a_dead_letter_keeps_headers_with_any_names_byte_for_byte() {
    let kafka = Kafka::own(1);
    let installation = Installation::with_partitions(&kafka, SHORT, 1);
    let letters = installation.topic("session_logs.dlq");
    // A broker that recompresses replaces such names.
    let tracker = installation.tracker(&["-X", "compression.type=none"]);
    tracker.await_ready();
    let refused = RawRecord {
        headers: vec![
            (b"before".to_vec(), Some(b"1".to_vec())),
            (NAME.to_vec(), Some(b"\xff\x00value".to_vec())),
            (b"".to_vec(), None),
        ],
        ..record(Some(b"key"), Some(b"no event"))
    };
    kafka.produce_raw(
        &installation.session_logs(),
        0,
        std::slice::from_ref(&refused),
    );
    tracker.await_metric("sundown_tracker_dead_letters_total", "malformed", 1);
    let mut copied = Vec::new();
    for (name, value) in &refused.headers {
        put_bytes(&mut copied, Some(name));
        put_bytes(&mut copied, value.as_deref());
    }
    eventually(SOON, "the headers on the broker's disk", || {
        is_on_disk(kafka.dir(), &letters, &copied).then_some(())
    });
    assert!(!tracker.log().contains("panicked"), "{}", tracker.log());

    // Redriven, the record still has them, and comes back as a dead letter.
    let mut redrive = installation.sundown(&["dlq", "redrive", "--all"]).start();
    let status = redrive.wait(SOON);
    assert!(status.success(), "{}", redrive.text(Stream::Stderr));
    tracker.await_metric("sundown_tracker_dead_letters_total", "malformed", 2);
    tracker.stop();
}

/// Records for any topic. With a key where the topic is compacted.
fn foreign() -> Vec<RawRecord> {
    let huge = vec![b'x'; 700_000];
    let nested = "[".repeat(100_000);
    let keys: [&[u8]; 6] = [
        b"",
        b"tracker-other",
        b"\xff\xfe",
        b"\x00cutoff/x",
        b"pause/0",
        &huge[..200_000],
    ];
    let values: [Option<&[u8]>; 8] = [
        None,
        Some(b""),
        Some(b"null"),
        Some(b"\x01\x02\xff"),
        Some(br#"{"v":1}"#),
        Some(br#"{"v":1,"id":7,"role":null,"policies":{"a":[]}}"#),
        Some(nested.as_bytes()),
        Some(&huge),
    ];
    let headers = [
        vec![],
        vec![
            (NAME.to_vec(), None),
            (b"".to_vec(), Some(b"\xff".to_vec())),
        ],
        vec![(b"sundown-position".to_vec(), Some(NAME.to_vec()))],
        vec![(b"sundown-dlq-processed".to_vec(), Some(b"0".to_vec()))],
        vec![(b"sundown-redrive-actions".to_vec(), Some(NAME.to_vec()))],
        vec![(vec![0, 0xff, 0], Some(vec![0xff; 200_000]))],
        vec![(b"many".to_vec(), None); 5_000],
    ];
    let mut records = Vec::new();
    for (number, value) in values.iter().enumerate() {
        for (key, headers) in keys.iter().zip(headers.iter().cycle().skip(number)) {
            records.push(RawRecord {
                headers: headers.clone(),
                ..record(Some(key), *value)
            });
        }
    }
    records
}

#[test]
fn foreign_records_in_every_topic_stop_no_role() {
    let kafka = Kafka::own(1);
    let installation = Installation::new(&kafka, SHORT);
    let roles = [
        installation.tracker(&[]),
        RoleProcess::start(installation.sundown(&["handler"])),
        RoleProcess::start(installation.sundown(&["console", "--listen", "127.0.0.1:0"])),
    ];
    roles.iter().for_each(RoleProcess::await_ready);
    let records = foreign();
    let before = roles[0].metric("sundown_tracker_events_total", "");
    for topic in TOPICS {
        for record in &records {
            // Brokers refuse some: those too large, and keys that a compacted topic needs.
            let _code = kafka.try_produce_raw(&installation.topic(topic), 0, record);
        }
    }
    let session = installation.key_on(0);
    let now = Clock::default().wall().as_millis();
    for (event, at) in [("login", now), ("logout", now + 1)] {
        let event =
            json!({"user_id": 1, "session_id": session, "activity_timestamp": at, "event": event});
        let event = NewRecord::new(session.as_str(), event.to_string());
        kafka.produce(&installation.session_logs(), [event]);
    }
    // The handler reads behind everything foreign in its topic.
    roles[1].await_metric("sundown_handler_events_total", "done", 1);
    for reason in ["unknown_key", "malformed"] {
        roles[0].await_metric("sundown_tracker_unusable_watermarks_total", reason, 1);
    }
    let login = json!({"user_id": 1, "session_id": session, "activity_timestamp": now + 2, "event": "login"});
    let login = NewRecord::new(session.as_str(), login.to_string());
    kafka.produce(&installation.session_logs(), [login]);
    roles[0].await_metric("sundown_tracker_endings_total", "idle_timeout", 1);
    assert!(roles[0].metric("sundown_tracker_events_total", "") > before + 10);
    for mut role in roles {
        assert!(role.process.ended().is_none(), "{}", role.log());
        assert!(!role.log().contains("panicked"), "{}", role.log());
        role.stop();
    }
    for list in [
        ["dlq", "list"],
        ["topics", "describe"],
        ["partitions", "list"],
    ] {
        let mut command = installation.sundown(&list).start();
        assert!(
            command.wait(SOON).success(),
            "{}",
            command.text(Stream::Stderr)
        );
    }
}

#[test]
fn no_role_makes_the_brokers_create_topics() {
    let options = [
        "--set".to_owned(),
        "auto.create.topics.enable=true".to_owned(),
    ];
    let kafka = Kafka::own_with(1, std::process::id(), &options);
    let prefix = unique_prefix("auto");
    let flags = ["-b", kafka.bootstrap(), "--topic-prefix", &prefix];
    let start = |role: &str| RoleProcess::start(Launch::sundown().arg(role).args(flags));
    let tracker = start("tracker");
    let handler = start("handler");
    let console = Launch::sundown()
        .args(["console", "--listen", "127.0.0.1:0"])
        .args(flags);
    let console = RoleProcess::start(console);
    tracker.await_unready("kafka", "missing topics");
    handler.await_unready("kafka", "missing topics");
    console.await_message("serving the console");
    // Long enough for the console's first reports.
    std::thread::sleep(Duration::from_secs(8));
    let describe = || {
        let describe = ["topics", "describe", "-o", "json"];
        let mut command = Launch::sundown().args(describe).args(flags).start();
        assert!(command.wait(SOON).success());
        command.text(Stream::Stdout)
    };
    assert_eq!(describe().trim(), "[]");
    let mut create = Launch::sundown()
        .args(["topics", "create"])
        .args(flags)
        .start();
    assert!(
        create.wait(SOON).success(),
        "{}",
        create.text(Stream::Stderr)
    );
    tracker.await_ready();
    handler.await_ready();
    for role in [tracker, handler, console] {
        role.stop();
    }
}
