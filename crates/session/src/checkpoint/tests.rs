//! Records round-trip, and bytes that are no record are refused.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{
    Attributes, Checkpoint, CheckpointError, CutOff, CutOffRecord, DeferredEvent, EndReason,
    Record, RecordKey, RememberedEnding, SessionRecord, Timestamp, UnmatchedEnd, UserId,
};
use crate::cut_off::CutOffScope;
use crate::event::{EventKind, Initiator};
use crate::id::Packed;
use crate::time::Span;

const KINDS: [EventKind; 5] = [
    EventKind::Activity,
    EventKind::Login,
    EventKind::Logout,
    EventKind::Revoke,
    EventKind::Rotated,
];

fn times() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn users() -> impl Strategy<Value = UserId> {
    (".{0,40}", any::<bool>()).prop_map(|(text, number)| UserId {
        text: Packed::new(&text),
        number,
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    proptest::collection::btree_map("[a-z]{1,8}", ".{0,12}", 0..4)
        .prop_map(|pairs| Attributes::new(pairs).unwrap())
}

fn initiators() -> impl Strategy<Value = Option<Initiator>> {
    (option::of(".{0,9}"), option::of(".{0,9}")).prop_map(|(by, note)| {
        let initiator = Initiator {
            by: by.map(String::into),
            note: note.map(String::into),
        };
        Some(initiator).filter(|one| *one != Initiator::default())
    })
}

fn deferred_events() -> impl Strategy<Value = DeferredEvent> {
    let parts = (
        times(),
        select(&KINDS[..]),
        any::<bool>(),
        option::of(users()),
        option::of(attributes()),
        initiators(),
    );
    parts.prop_map(
        |(at, kind, broad, user, attributes, initiator)| DeferredEvent {
            at,
            kind,
            broad,
            user,
            attributes: attributes.map(Box::new),
            initiator: initiator.map(Box::new),
        },
    )
}

fn live_sessions() -> impl Strategy<Value = Checkpoint> {
    let parts = (
        (users(), any::<[bool; 3]>(), attributes()),
        (
            times(),
            times(),
            times(),
            option::of(times()),
            times(),
            any::<i64>(),
        ),
        proptest::collection::vec(deferred_events(), 0..3),
    );
    parts.prop_map(
        |(
            (user, [logged_in, began_with_login, awaits_check], attributes),
            (started_at, authenticated_at, last_activity, warned_of, attributes_at, position),
            deferred,
        )| Checkpoint {
            user,
            started_at,
            authenticated_at,
            logged_in,
            began_with_login,
            last_activity,
            warned_of,
            attributes_at: (logged_in || !attributes.is_empty()).then_some(attributes_at),
            attributes: Some(attributes).filter(|all| !all.is_empty()),
            deferred,
            awaits_check,
            position,
        },
    )
}

fn endings() -> impl Strategy<Value = RememberedEnding> {
    let parts = (
        select(&EndReason::ALL[..]),
        -1_000_000_000_000..1_000_000_000_000_i64,
        option::of(0..1_000_000_000_i64),
    );
    parts.prop_map(|(reason, ended_at, after)| {
        let ended_at = Timestamp::from_millis(ended_at);
        RememberedEnding {
            reason,
            ended_at,
            in_flight: after.map(|after| ended_at + Span::from_millis(after)),
        }
    })
}

fn records() -> impl Strategy<Value = Record> {
    let unmatched =
        (times(), select(&EndReason::ALL[..]), initiators()).prop_map(|(at, reason, initiator)| {
            UnmatchedEnd {
                at,
                reason,
                initiator,
            }
        });
    let session = (
        "[^\0].{0,40}|",
        option::of(live_sessions()),
        option::of(endings()),
        vec(unmatched, 0..4),
    )
        .prop_filter("a part at least", |(_, live, ended, _)| {
            live.is_some() || ended.is_some()
        })
        .prop_map(|(session, live, ended, unmatched)| {
            Record::Session(SessionRecord {
                session: Packed::new(&session),
                live,
                ended,
                unmatched,
            })
        });
    let scope = prop_oneof![
        users().prop_map(CutOffScope::User),
        attributes().prop_map(CutOffScope::Matching),
    ];
    let cut_off = (
        scope,
        option::of(".{0,40}"),
        times(),
        select(&EndReason::ALL[..]),
        (initiators(), any::<bool>()),
    );
    let cut_off = cut_off.prop_map(|(scope, except, at, reason, (initiator, complete))| {
        Record::CutOff(CutOffRecord {
            cut_off: CutOff {
                scope,
                except: except.map(|id| Packed::new(&id)),
                at,
                reason,
                initiator: initiator.map(Box::new),
            },
            complete,
        })
    });
    prop_oneof![session, cut_off]
}

fn encoded(record: &Record) -> (Vec<u8>, Vec<u8>) {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    record.key().encode(&mut key);
    record.encode(&mut value);
    (key, value)
}

proptest! {
    #[test]
    fn a_record_round_trips(record in records()) {
        let (key, value) = encoded(&record);
        let key = RecordKey::decode(&key).unwrap();
        prop_assert_eq!(Record::decode(key, &value), Ok(record));
    }

    #[test]
    fn a_truncated_record_is_an_error(record in records(), cut in 0.0..1.0) {
        let (_, mut value) = encoded(&record);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fraction of the length")]
        value.truncate((value.len() as f64 * cut) as usize);
        prop_assert!(Record::decode(record.key(), &value).is_err());
    }

    #[test]
    fn arbitrary_bytes_decode_or_fail(
        key in proptest::collection::vec(any::<u8>(), 0..40),
        value in proptest::collection::vec(any::<u8>(), 0..80),
        version in 0..4_u8,
    ) {
        let _ = RecordKey::decode(&key);
        let _ = RecordKey::decode(&[&[0], &key[..]].concat());
        let value = [&[version], &value[..]].concat();
        let _ = Record::decode(RecordKey::Session(Packed::new("s")), &value);
    }
}

#[test]
fn a_newer_version_is_refused() {
    let key = RecordKey::Session(Packed::new("s"));
    let error = Record::decode(key, &[3, 0, 0]).unwrap_err();
    assert_eq!(error, CheckpointError::NewerVersion { found: 3 });
    assert!(error.to_string().contains("version 3"), "{error}");
}

#[test]
fn a_record_of_version_1_can_be_read() {
    // Started at 1,000 ms, active until 1,500 ms, from offset 7 on; user "ann", tenant "acme".
    let value = b"\x01\x00\xd0\x0f\xe8\x07\x0e\x06ann\x02\x0ctenant\x08acme";
    let key = RecordKey::Session(Packed::new("s"));
    let Ok(Record::Session(record)) = Record::decode(key, value) else {
        panic!("not a session");
    };
    let live = record.live.unwrap();
    assert_eq!(live.started_at, Timestamp::from_millis(1_000));
    assert_eq!(live.authenticated_at, live.started_at);
    assert_eq!(live.last_activity, Timestamp::from_millis(1_500));
    assert_eq!(live.attributes_at, Some(live.last_activity));
    assert_eq!(live.position, 7);
    assert_eq!(live.user.text, Packed::new("ann"));
    assert_eq!(live.attributes.unwrap().get("tenant"), Some("acme"));
    assert_eq!(record.ended, None);
}

#[test]
fn a_typical_session_takes_few_bytes() {
    let record = |live, ended| {
        Record::Session(SessionRecord {
            session: Packed::new("6f1f2a30-0f5e-4d2c-9a3e-7b1c2d3e4f50"),
            live,
            ended,
            unmatched: Vec::new(),
        })
    };
    let live = Checkpoint {
        user: UserId {
            text: Packed::new("123456"),
            number: true,
        },
        started_at: Timestamp::from_millis(1_764_000_000_000),
        authenticated_at: Timestamp::from_millis(1_764_000_000_000),
        logged_in: true,
        began_with_login: true,
        last_activity: Timestamp::from_millis(1_764_000_600_000),
        warned_of: None,
        attributes: None,
        attributes_at: None,
        deferred: Vec::new(),
        awaits_check: false,
        position: 1_000_000,
    };
    let (_, value) = encoded(&record(Some(live), None));
    assert!(value.len() <= 26, "{} bytes", value.len());
    let ended = RememberedEnding {
        reason: EndReason::Logout,
        ended_at: Timestamp::from_millis(1_764_000_600_000),
        in_flight: None,
    };
    let (_, value) = encoded(&record(None, Some(ended)));
    assert!(value.len() <= 10, "{} bytes", value.len());
}
