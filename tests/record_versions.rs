//! Trackers of two releases run side by side during a rollout and its rollback, so each has to read what the
//! other writes: the records that 0.1.0 wrote stay readable, and are written as they were but for fields
//! that earlier releases ignore (`docs/decisions/record-versions.md`).
#![allow(clippy::unwrap_used, reason = "tests panic on unexpected values")]

use serde_json::{Value, json};
use sundown::session::checkpoint::VERSION;
use sundown::session::{
    Checkpoint, EndReason, Packed, Record, RecordKey, RememberedEnding, SessionRecord, Timestamp,
    UserId,
};
use sundown::tracker::offset_metadata::OffsetMetadata;
use sundown::wire::watermark::WatermarkRecord;

const STARTED: i64 = 1_764_000_000_000;

/// What 0.1.0 wrote for [`session`].
const WRITTEN: &str = "02030d80a0bfe9d666ce49c0a907a01f0631323300028081f6e8d66600";

fn session() -> Record {
    let at = |seconds: i64| Timestamp::from_millis(STARTED + 1_000 * seconds);
    Record::Session(SessionRecord {
        session: Packed::new("abc123"),
        live: Some(Checkpoint {
            user: UserId {
                text: Packed::new("123"),
                number: true,
            },
            started_at: at(0),
            authenticated_at: at(2),
            logged_in: true,
            began_with_login: false,
            last_activity: at(60),
            warned_of: None,
            attributes: None,
            attributes_at: None,
            deferred: Vec::new(),
            awaits_check: false,
            position: 4711,
        }),
        ended: Some(RememberedEnding {
            reason: EndReason::Logout,
            ended_at: at(-600),
            in_flight: None,
        }),
        unmatched: Vec::new(),
    })
}

/// A later version may be written by the release after the first that reads it.
#[test]
fn checkpoint_records_are_those_of_the_first_release() {
    assert_eq!(VERSION, 2);
    let mut encoded = Vec::new();
    session().encode(&mut encoded);
    let hex: String = encoded.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, WRITTEN);
    let key = RecordKey::decode(b"abc123").unwrap();
    assert_eq!(Record::decode(key, &encoded).unwrap(), session());
}

#[test]
fn the_metadata_of_offsets_only_gains_fields() {
    let written = json!({
        "v": 1,
        "watermark": STARTED,
        "replay_from": 42,
        "topic_id": "4xPz0kVsTYe9S1mcvNq-Aw",
        "checkpoint_id": "AAAAAAAAAAAAAAAAAAAAAA",
        "partitions": 3,
        "sessions": 7,
        "routing": {"partitions": 3, "key": "session_id"},
    });
    let metadata = OffsetMetadata::decode(&written.to_string()).unwrap();
    let encoded: Value = serde_json::from_str(&metadata.encode()).unwrap();
    assert_eq!(encoded, written);
    // What a later release adds is ignored.
    let mut later = written;
    later["added"] = json!({"by": "a later release"});
    assert_eq!(OffsetMetadata::decode(&later.to_string()), Some(metadata));
}

#[test]
fn watermark_records_only_gain_fields() {
    let written = json!({
        "v": 1,
        "routing": {"partitions": 3, "key": "session_id"},
        "watermarks": [{"topic": "session_logs", "partition": 0, "until": STARTED}],
    });
    let record = WatermarkRecord::decode(written.to_string().as_bytes()).unwrap();
    let encoded: Value = serde_json::from_slice(&record.encode()).unwrap();
    assert_eq!(encoded, written);
    let mut later = written;
    later["added"] = json!(1);
    let decoded = WatermarkRecord::decode(later.to_string().as_bytes());
    assert_eq!(decoded, Ok(record));
}
