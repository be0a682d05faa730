use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::Batch;
use super::super::limits::TransactionLimits;
use super::*;
use crate::clock::{BrokerSample, Reading};
use crate::kafka::end_offsets::EndOffsets;
use crate::session::{Effect, Policy, PolicySet, SessionTable, Span, TableConfig};
use crate::wire::record::{RecordHeader, SourceRecord, TimestampKind};

const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);
const PARTITIONS: i32 = 5;
/// What fits into a transaction.
const ROOM: usize = 4;
/// More than that.
const SESSIONS: i64 = 6;

/// The `pass`th activity of one of the sessions.
struct Event {
    offset: i64,
    value: String,
}

impl Event {
    fn new(session: i64, pass: i64) -> Self {
        let at = START.as_millis() + pass;
        Self {
            offset: pass * SESSIONS + session,
            value: format!(r#"{{"session_id":"{session}","user_id":1,"activity_timestamp":{at}}}"#),
        }
    }
}

impl SourceRecord for Event {
    fn offset(&self) -> i64 {
        self.offset
    }

    fn timestamp(&self) -> (Timestamp, TimestampKind) {
        (START, TimestampKind::CreateTime)
    }

    fn key(&self) -> Option<&[u8]> {
        None
    }

    fn value(&self) -> Option<&[u8]> {
        Some(self.value.as_bytes())
    }

    fn headers(&self) -> Vec<RecordHeader> {
        Vec::new()
    }
}

/// An engine in each of whose partitions all sessions have started.
fn engine() -> Engine {
    let bounds = TransactionLimits {
        outputs: ROOM,
        stores: ROOM,
    };
    let mut engine = Engine::new(Duration::from_secs(1), Span::from_secs(10)).bounded(bounds);
    engine.sampled(BrokerSample {
        append_time: None,
        sent: Duration::ZERO,
        acknowledged: Duration::ZERO,
    });
    let hour = Policy::built_in(Span::from_secs(3_600), None);
    let policies = Arc::new(PolicySet::new(Vec::new(), hour).unwrap());
    let config = TableConfig {
        slack: Span::ZERO,
        ..TableConfig::default()
    };
    for number in 0..PARTITIONS {
        let restore_id = engine.assign(number);
        let table = SessionTable::new(config.clone(), Arc::clone(&policies), START);
        let partition = Partition::new(number, PARTITIONS, table, 0);
        assert!(engine.restored(restore_id, number, Box::new(partition)));
    }
    all_act(&mut engine, 0);
    engine
}

fn all_act(engine: &mut Engine, pass: i64) {
    let events: Vec<_> = (0..SESSIONS)
        .map(|session| Event::new(session, pass))
        .collect();
    for number in 0..PARTITIONS {
        engine.apply(number, &events, START);
    }
}

fn take(engine: &mut Engine) -> Batch {
    let now = Reading {
        wall: START,
        elapsed: Duration::ZERO,
    };
    engine.take_batch(now).unwrap()
}

/// Takes batches until each session is in one of them. Each has as many as it may, and
/// nobody has a second turn before everybody has had one.
fn share(engine: &mut Engine, mut due: impl FnMut(&mut Engine), of: fn(&Effect) -> bool) {
    let all = usize::try_from(SESSIONS * i64::from(PARTITIONS)).unwrap();
    let mut had = BTreeMap::<i32, usize>::new();
    while had.values().sum::<usize>() < all {
        due(engine);
        let left = all - had.values().sum::<usize>();
        let mut count = 0;
        for part in take(engine).partitions {
            let of_part = part.effects.iter().filter(|effect| of(effect)).count();
            *had.entry(part.partition).or_default() += of_part;
            count += of_part;
        }
        assert_eq!(count, ROOM.min(left));
        let waits = (0..PARTITIONS).any(|number| !had.contains_key(&number));
        assert!(
            !waits || had.values().all(|count| *count <= ROOM),
            "{had:?}"
        );
    }
}

#[test]
fn sessions_that_start_fill_a_transaction() {
    let mut engine = engine();
    assert!(engine.full());
    let batch = take(&mut engine);
    let effects = batch.partitions.iter().flat_map(|part| &part.effects);
    assert_eq!(effects.count(), 30, "what events lead to is not put off");
    assert!(!engine.full());
}

#[test]
fn partitions_share_the_endings_of_a_transaction() {
    let mut engine = engine();
    take(&mut engine);
    let later = EndOffsets {
        requested_at: Reading {
            wall: START + Span::from_secs(100_000),
            elapsed: Duration::from_secs(10),
        },
        ends: (0..PARTITIONS).map(|number| (number, SESSIONS)).collect(),
    };
    let due = |engine: &mut Engine| {
        // More answers make no more room.
        engine.on_end_offsets(&later).unwrap();
        engine.on_end_offsets(&later).unwrap();
    };
    share(&mut engine, due, |effect| {
        matches!(effect, Effect::Ended(_))
    });
}

#[test]
fn partitions_share_the_sessions_that_a_transaction_rewrites() {
    let mut engine = engine();
    take(&mut engine);
    all_act(&mut engine, 1);
    share(
        &mut engine,
        |_| {},
        |effect| matches!(effect, Effect::Store(_)),
    );
}
