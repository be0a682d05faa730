use rdkafka::message::OwnedHeaders;

use super::*;
use crate::kafka::end_offsets::EndOffsets;
use crate::session::{Policy, SessionTable, TableConfig};
use crate::wire::record::TimestampKind;
use crate::wire::routing::RoutingKey;
use crate::wire::watermark::Upstream;

const INTERVAL: Duration = Duration::from_secs(1);
const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);

/// An activity of one session at this offset.
struct Event(i64);

impl SourceRecord for Event {
    fn offset(&self) -> i64 {
        self.0
    }

    fn timestamp(&self) -> (Timestamp, TimestampKind) {
        (START, TimestampKind::LogAppendTime)
    }

    fn key(&self) -> Option<&[u8]> {
        None
    }

    fn value(&self) -> Option<&[u8]> {
        Some(br#"{"session_id":"s","user_id":1,"activity_timestamp":"2025-11-24T16:00:00Z"}"#)
    }

    fn headers(&self) -> Option<OwnedHeaders> {
        None
    }
}

fn policies() -> Arc<PolicySet> {
    let hour = Policy::built_in(Span::from_secs(3_600), None);
    Arc::new(PolicySet::new(Vec::new(), hour).unwrap())
}

/// Creates an engine that reads partition 0 from its beginning.
fn engine() -> Engine {
    let routing = Routing {
        partitions: 1,
        key: RoutingKey::SessionId,
    };
    let mut engine = Engine::new(INTERVAL, Span::from_secs(10), RoutingMode::Any, routing);
    engine.add_broker_sample(BrokerSample {
        append_time: None,
        sent: Duration::ZERO,
        acknowledged: Duration::ZERO,
    });
    let restore_id = engine.assign(0);
    let table = SessionTable::new(TableConfig::default(), policies(), START);
    let partition = Box::new(Partition::new(0, routing, table, 0));
    assert!(engine.restored(restore_id, 0, partition, Duration::ZERO));
    engine
}

fn reading(millis: u64) -> Reading {
    Reading {
        wall: START,
        elapsed: Duration::from_millis(millis),
    }
}

fn read_to(engine: &mut Engine, end: i64) {
    let (_, partition) = engine.assigned().next().unwrap();
    let events: Vec<Event> = (partition.unwrap().position()..end).map(Event).collect();
    engine.apply(0, &events, START);
}

fn on_end_offset(engine: &mut Engine, end: i64) {
    let end_offsets = EndOffsets {
        requested_at: reading(0),
        ends: vec![(0, end)],
        partition_count: Some(1),
        topic_id: None,
        upstream: Upstream::default(),
    };
    engine.on_end_offsets(&end_offsets).unwrap();
}

#[test]
fn a_backlog_is_committed_as_soon_as_it_has_been_read() {
    let mut engine = engine();
    on_end_offset(&mut engine, BACKLOG);
    read_to(&mut engine, BACKLOG - 1);
    assert!(
        !engine.commit_due(Duration::from_millis(2)),
        "one record is left"
    );
    assert!(engine.commit_due(INTERVAL), "the interval still counts");
    engine.take_batch(reading(1_000)).unwrap();

    read_to(&mut engine, BACKLOG);
    assert!(engine.commit_due(Duration::from_millis(1_001)));
    let batch = engine.take_batch(reading(1_001)).unwrap();
    assert_eq!(batch.partitions[0].position, BACKLOG);
    assert!(!engine.commit_due(Duration::from_millis(1_002)), "once");
}

#[test]
fn a_trickle_waits_for_the_commit_interval() {
    let mut engine = engine();
    for step in 1..10 {
        on_end_offset(&mut engine, step * 100);
        read_to(&mut engine, step * 100);
        on_end_offset(&mut engine, step * 100);
        assert!(!engine.commit_due(Duration::from_millis(999)));
    }
    assert!(engine.commit_due(INTERVAL));
}

#[test]
fn no_session_of_a_paused_partition_ends_until_it_is_resumed() {
    let mut engine = engine();
    read_to(&mut engine, 1);
    let paused = engine.set_paused(BTreeSet::from([0, 7]));
    assert_eq!(paused.pause, [0]);
    let watermark = |engine: &Engine| engine.live_partition(0).unwrap().watermark();
    let before = watermark(&engine);
    // The session's hour is over, and no record is left to read.
    let later = EndOffsets {
        requested_at: Reading {
            wall: START + Span::from_secs(100_000),
            elapsed: Duration::from_secs(10),
        },
        ends: vec![(0, 1)],
        partition_count: Some(1),
        topic_id: None,
        upstream: Upstream::default(),
    };
    engine.on_end_offsets(&later).unwrap();
    engine.advance_position(0, 5);
    engine.apply(0, &[Event(1)], START);
    let partition = engine.live_partition(0).unwrap();
    assert_eq!((partition.position(), partition.sessions()), (1, 1));
    assert_eq!(watermark(&engine), before);

    let resumed = engine.set_paused(BTreeSet::new());
    assert_eq!(resumed.resume, [(0, 1)]);
    engine.on_end_offsets(&later).unwrap();
    assert_eq!(engine.live_partition(0).unwrap().sessions(), 0);
}
