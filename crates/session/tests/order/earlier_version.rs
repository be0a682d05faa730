//! A restore from records of version 1, whose bytes the last release before version 2 wrote.

use std::sync::Arc;

use sundown_session::table::TableConfig;
use sundown_session::{
    Effect, EndReason, Event, EventKind, Policy, PolicySet, Record, RecordKey, SessionTable, Span,
    Subject, Timestamp,
};

const SECOND: i64 = 1_000;
const T: i64 = 1_764_000_000_000;
const UUID: &str = "6f1f2a30-0f5e-4d2c-9a3e-7b1c2d3e4f50";

/// "s-1" of "ann" logged in at 0 and 60 s, with a tenant; the other one, of 42, was active at 1 s and
/// has been warned of its end at 601 s.
const RECORDS: [(&str, &[u8]); 2] = [
    (
        "s-1",
        b"\x01\x00\xc0\xc9\xc6\xe9\xd6\x66\x00\x00\x06ann\x02\x0ctenant\x08acme",
    ),
    (
        UUID,
        b"\x01\x03\xd0\xaf\xbf\xe9\xd6\x66\x00\x80\x9f\x49\x02\x0442\x00",
    ),
];

/// Ten minutes idle, an hour at most, a warning a minute before.
fn restored() -> SessionTable {
    let policy = Policy {
        warn_before: Some(Span::from_secs(60)),
        ..Policy::built_in(Span::from_secs(600), Some(Span::from_secs(3_600)))
    };
    let policies = PolicySet::new(Vec::new(), policy).unwrap();
    let config = TableConfig::default();
    let mut table = SessionTable::new(config, Arc::new(policies), at(552));
    for (key, value) in RECORDS {
        let key = RecordKey::decode(key.as_bytes()).unwrap();
        table.restore(Record::decode(key, value).unwrap());
    }
    table
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_millis(T + second * SECOND)
}

fn event(id: &str, kind: EventKind, second: i64) -> Event<'_> {
    Event {
        subject: Subject::Session { id, user: None },
        at: at(second),
        kind,
        attributes: None,
        initiator: None,
    }
}

#[test]
fn sessions_of_version_1_go_on_and_end_as_they_would_have() {
    let mut table = restored();
    let mut effects = Vec::new();
    assert_eq!(table.len(), 2);
    table.replay(&event("s-1", EventKind::Activity, 61), 5, at(61));
    table.apply(
        event("s-1", EventKind::Logout, 30),
        6,
        at(553),
        &mut effects,
    );
    assert_eq!(effects, [], "it is from before the login");
    table.advance(at(610), 10, &mut effects);
    let [Effect::Ended(ending), Effect::Expiring(warning)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(
        (warning.session.to_string(), warning.deadline),
        ("s-1".to_owned(), at(661))
    );
    assert_eq!(ending.session.to_string(), UUID);
    assert_eq!(
        (ending.reason, ending.ended_at),
        (EndReason::IdleTimeout, at(601))
    );
    assert_eq!(ending.started_at, Some(at(1)));
    assert!(ending.user.as_ref().is_some_and(|user| user.number));
    effects.clear();
    table.advance(at(700), 10, &mut effects);
    let [Effect::Ended(ending)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(
        (ending.started_at, ending.ended_at),
        (Some(at(60)), at(661))
    );
    let attributes = ending.attributes.as_ref().unwrap();
    assert_eq!(attributes.get("tenant"), Some("acme"));
}

#[test]
fn a_session_of_version_1_is_stored_in_the_present_version() {
    let mut table = restored();
    let mut effects = Vec::new();
    table.apply(
        event("s-1", EventKind::Login, 560),
        7,
        at(560),
        &mut effects,
    );
    table.flush(8, Timestamp::from_millis(0), usize::MAX, &mut effects);
    let [Effect::Store(record)] = &effects[..] else {
        panic!("{effects:?}");
    };
    let mut value = Vec::new();
    record.encode(&mut value);
    assert_eq!(value[0], 2);
    assert_eq!(Record::decode(record.key(), &value).as_ref(), Ok(record));
}
