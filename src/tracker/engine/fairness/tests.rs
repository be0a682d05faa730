use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::message::OwnedHeaders;

use super::super::Batch;
use super::super::limits::TransactionLimits;
use super::*;
use crate::clock::{BrokerSample, Reading};
use crate::kafka::end_offsets::EndOffsets;
use crate::session::{Effect, Policy, PolicySet, SessionTable, Span, TableConfig};
use crate::tracker::routing::RoutingMode;
use crate::wire::partitioner::murmur2_partition;
use crate::wire::record::{SourceRecord, TimestampKind};
use crate::wire::routing::{Routing, RoutingKey};
use crate::wire::watermark::Upstream;

const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);
const PARTITIONS: i32 = 5;
/// The size of a transaction.
const ROOM: usize = 4;
/// More sessions than a transaction has room for.
const SESSIONS: i64 = 6;

/// The `pass`th activity of one of the sessions.
struct Event {
    offset: i64,
    value: String,
}

impl Event {
    fn new(partition: i32, session: i64, pass: i64) -> Self {
        let at = START.as_millis() + pass;
        let id = id_on(partition, session);
        Self {
            offset: pass * SESSIONS + session,
            value: format!(r#"{{"session_id":"{id}","user_id":1,"activity_timestamp":{at}}}"#),
        }
    }
}

/// Returns the session id with this number among those that belong on the partition.
fn id_on(partition: i32, number: i64) -> String {
    let is_there =
        |id: &String| murmur2_partition(Some(id.as_bytes()), PARTITIONS) == Some(partition);
    let mut ids = (0..).map(|id: u32| id.to_string()).filter(is_there);
    ids.nth(usize::try_from(number).unwrap()).unwrap()
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

    fn headers(&self) -> Option<OwnedHeaders> {
        None
    }
}

/// Creates an engine with all sessions started on each partition.
fn engine() -> Engine {
    let limits = TransactionLimits {
        outputs: ROOM,
        stores: ROOM,
    };
    let routing = Routing {
        partitions: PARTITIONS,
        key: RoutingKey::SessionId,
    };
    let (interval, skew) = (Duration::from_secs(1), Span::from_secs(10));
    let engine = Engine::new(interval, skew, RoutingMode::Any, routing);
    let mut engine = engine.with_limits(limits);
    engine.add_broker_sample(BrokerSample {
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
        let partition = Box::new(Partition::new(number, routing, table, 0));
        assert!(engine.restored(restore_id, number, partition, Duration::ZERO));
    }
    apply_activity(&mut engine, 0);
    engine
}

fn apply_activity(engine: &mut Engine, pass: i64) {
    for number in 0..PARTITIONS {
        let events: Vec<_> = (0..SESSIONS)
            .map(|session| Event::new(number, session, pass))
            .collect();
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

/// Takes batches until they contain each session. Each batch is full, and no partition has a
/// second turn before each has had one.
fn assert_fair(engine: &mut Engine, mut due: impl FnMut(&mut Engine), counts: fn(&Effect) -> bool) {
    let all = usize::try_from(SESSIONS * i64::from(PARTITIONS)).unwrap();
    let mut taken = BTreeMap::<i32, usize>::new();
    while taken.values().sum::<usize>() < all {
        due(engine);
        let left = all - taken.values().sum::<usize>();
        let mut count = 0;
        for part in take(engine).partitions {
            let of_part = part.effects.iter().filter(|effect| counts(effect)).count();
            *taken.entry(part.partition).or_default() += of_part;
            count += of_part;
        }
        assert_eq!(count, ROOM.min(left));
        let waiting = (0..PARTITIONS).any(|number| !taken.contains_key(&number));
        assert!(
            !waiting || taken.values().all(|count| *count <= ROOM),
            "{taken:?}"
        );
    }
}

#[test]
fn new_sessions_fill_a_transaction() {
    let mut engine = engine();
    assert!(engine.is_full());
    let batch = take(&mut engine);
    let effects = batch.partitions.iter().flat_map(|part| &part.effects);
    assert_eq!(effects.count(), 30, "effects of events are not deferred");
    assert!(!engine.is_full());
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
        partition_count: Some(PARTITIONS),
        topic_id: None,
        upstream: Upstream::default(),
    };
    let due = |engine: &mut Engine| {
        // Further end offsets make no more room.
        engine.on_end_offsets(&later).unwrap();
        engine.on_end_offsets(&later).unwrap();
    };
    assert_fair(&mut engine, due, |effect| {
        matches!(effect, Effect::Ended(_))
    });
}

#[test]
fn partitions_share_the_sessions_that_a_transaction_rewrites() {
    let mut engine = engine();
    take(&mut engine);
    apply_activity(&mut engine, 1);
    assert_fair(
        &mut engine,
        |_| {},
        |effect| matches!(effect, Effect::Store(_)),
    );
}
