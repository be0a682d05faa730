//! Readers of records that have a format of their own.

use std::sync::Arc;

use rdkafka::Timestamp as RecordTimestamp;
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
use sundown::dead_letters::kind::DeadLetterKind;
use sundown::dead_letters::letter::DeadLetter;
use sundown::dead_letters::redrive;
use sundown::handler::event::Trigger;
use sundown::processes::{ProcessReport, is_live};
use sundown::session::{
    Effect, Policy, PolicySet, Record, RecordKey, SessionTable, Span, TableConfig, Timestamp,
};
use sundown::tracker::offset_metadata::OffsetMetadata;
use sundown::wire::event::{DecodeLimits, decode};
use sundown::wire::forwarded::{Forwarded, MAX_HOPS, SourceOffset};
use sundown::wire::routing::{Routing, RoutingKey};
use sundown::wire::watermark::{WatermarkRecord, WatermarkStore};

use super::first_line;

const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

/// The fast path of the decoder and serde agree: white space before the event leaves it to serde.
pub(super) fn session_event(data: &[u8]) {
    let by_serde = [b"\n", data].concat();
    let limits = DecodeLimits::default();
    for record_time in [None, Some(NOW)] {
        let event = decode(Some(data), record_time, &limits);
        let expected = decode(Some(&by_serde), record_time, &limits);
        match (&event, &expected) {
            (Ok(event), Ok(expected)) => assert_eq!(event, expected),
            (Err(_), Err(_)) => {}
            _ => panic!("{event:?}, by serde: {expected:?}"),
        }
    }
}

/// The first line is the key, with `0` for NUL; the rest is the value. A record that can be read can be
/// written and read again, and restored.
pub(super) fn checkpoint_record(data: &[u8]) {
    let (key, value) = keyed(data);
    let Ok(key) = RecordKey::decode(&key) else {
        return;
    };
    let Ok(record) = Record::decode(key, value) else {
        return;
    };
    let mut encoded = Vec::new();
    record.encode(&mut encoded);
    let read_back = Record::decode(record.key(), &encoded);
    assert_eq!(read_back.as_ref(), Ok(&record), "written and read again");

    let fallback = Policy::built_in(Span::from_secs(3600), None);
    let policies = PolicySet::new(Vec::new(), fallback).expect("no policies are not too many");
    let mut table = SessionTable::new(TableConfig::default(), Arc::new(policies), NOW);
    let mut effects: Vec<Effect> = Vec::new();
    table.restore(record);
    let later = NOW + Span::from_secs(86_400);
    while table.advance(later, 100, &mut effects) {}
    table.flush(1, later, 100, &mut effects);
}

/// The first line is the key of a record, or `0` and the rest of a key that starts with NUL.
fn keyed(data: &[u8]) -> (Vec<u8>, &[u8]) {
    let (line, value) = first_line(data);
    let key = match line {
        [b'0', rest @ ..] => [&[0], rest].concat(),
        key => key.to_vec(),
    };
    (key, value)
}

/// A mark that can be read can be written and read again, and no mark is forwarded for ever.
pub(super) fn forwarded_key(data: &[u8]) {
    let Some(mark) = Forwarded::decode(Some(data)) else {
        return;
    };
    assert_eq!(Forwarded::decode(Some(&mark.encode())), Some(mark));
    let time = Forwarded::time(Some(mark), NOW, NOW);
    assert!(time.is_some_and(|time| time <= NOW), "{time:?}");
    let origin = SourceOffset {
        partition: 0,
        offset: 0,
    };
    let mut next = Some(mark);
    for _ in 0..=MAX_HOPS {
        next = next.and_then(|mark| Forwarded::again(Some(mark), NOW, origin));
    }
    assert_eq!(next, None, "a loop ends");
}

pub(super) fn offset_metadata(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(metadata) = OffsetMetadata::decode(&text) {
        let read_back = OffsetMetadata::decode(&metadata.encode());
        assert_eq!(read_back, Some(metadata), "written and read again");
        let _same_or_different = metadata.identity.check(&metadata.identity);
    }
}

/// Each line is the key of a record, a space and its value, or a key alone for a tombstone.
pub(super) fn watermarks(data: &[u8]) {
    let mut store = WatermarkStore::default();
    for line in data.split(|&byte| byte == b'\n') {
        let space = line.iter().position(|&byte| byte == b' ');
        let (key, value) = match space {
            Some(at) => (&line[..at], Some(&line[at + 1..])),
            None => (line, None),
        };
        let _applied_or_refused = store.apply(key, value);
        if let Some(Ok(record)) = value.map(WatermarkRecord::decode) {
            let read_back = WatermarkRecord::decode(&record.encode());
            assert_eq!(read_back, Ok(record), "written and read again");
        }
    }
    let routing = Routing {
        partitions: 3,
        key: RoutingKey::SessionId,
    };
    let upstream = store.upstream("session_logs", routing, b"tracker-own");
    let least = upstream.source_topics.values().min();
    assert_eq!(upstream.sources.as_ref(), least);
}

pub(super) fn process_report(data: &[u8]) {
    if let Ok(report) = serde_json::from_slice::<ProcessReport>(data) {
        let written = serde_json::to_vec(&report).expect("a report can be written");
        let read_back: ProcessReport = serde_json::from_slice(&written).expect("a written report");
        assert_eq!(read_back, report);
        let _live_or_not = is_live(Timestamp::from_millis(i64::from(report.pid)), NOW);
    }
}

/// What handlers read, of both topics.
pub(super) fn terminal_event(data: &[u8]) {
    for trigger in [Trigger::Ending, Trigger::Warning] {
        if let Ok(event) = trigger.decode(data) {
            assert_eq!(event.trigger(), trigger);
            let _outdated_or_not = event.is_outdated(NOW);
            let _ = (event.user(), event.session_id(), event.ends_at());
        }
    }
}

/// The first lines, up to an empty one, are headers: name, space, value. The next line is the key, the rest
/// the value. A letter that is redriven remembers its failure.
pub(super) fn dead_letter(data: &[u8]) {
    let mut headers = OwnedHeaders::new();
    let (mut line, mut rest) = first_line(data);
    while !line.is_empty() {
        let text = String::from_utf8_lossy(line).into_owned();
        let (name, value) = text.split_once(' ').unwrap_or((&text, ""));
        // A name with a NUL cannot be written.
        if !name.contains('\0') {
            headers = headers.insert(Header {
                key: name,
                value: Some(value),
            });
        }
        (line, rest) = first_line(rest);
    }
    let (key, value) = first_line(rest);
    for kind in [DeadLetterKind::Events, DeadLetterKind::Endings] {
        let letter = letter(key, value, headers.clone());
        let summary = serde_json::to_string(&letter.summary());
        assert!(summary.is_ok(), "{summary:?}");
        let failed_again = self::letter(key, value, redrive::headers(kind, &letter));
        let history = failed_again.history();
        assert!(history.len() <= letter.history().len() + 1);
        assert_eq!(history.last(), Some(&letter.failure()));
    }
}

fn letter(key: &[u8], value: &[u8], headers: OwnedHeaders) -> DeadLetter {
    DeadLetter::of(&OwnedMessage::new(
        Some(value.to_vec()),
        Some(key.to_vec()),
        "session_logs.dlq".to_owned(),
        RecordTimestamp::CreateTime(NOW.as_millis()),
        0,
        0,
        Some(headers),
    ))
}
