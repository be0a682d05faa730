//! A watermark of a partition proves that everything that belongs on it has been applied, on
//! whatever partition it was written: for any interleaving of writers, reads, forwards, commits and
//! requests for end offsets of several trackers.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Parser;
use proptest::prelude::*;
use rdkafka::message::OwnedHeaders;
use sundown::cli::Cli;
use sundown::clock::{BrokerSample, Reading};
use sundown::kafka::Topics;
use sundown::kafka::end_offsets::EndOffsets;
use sundown::kafka::transaction::delivery::Delivery;
use sundown::session::{Lookup, Policy, PolicySet, SessionTable, Span, TableConfig, Timestamp};
use sundown::tracker::engine::Engine;
use sundown::tracker::outbox::{self, EncodeOptions};
use sundown::tracker::partition::Partition;
use sundown::tracker::routing::RoutingMode;
use sundown::wire::partitioner::murmur2_partition;
use sundown::wire::record::{SourceRecord, TimestampKind};
use sundown::wire::routing::{Routing, RoutingKey};
use sundown::wire::watermark::{Upstream, WatermarkStore};

const PARTITIONS: i32 = 3;
const TRACKERS: usize = 2;
const START: i64 = 1_764_000_000_000;
const ROUTING: Routing = Routing {
    partitions: PARTITIONS,
    key: RoutingKey::SessionId,
};

#[derive(Clone, Debug)]
struct Record {
    offset: i64,
    appended: i64,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    /// The transaction, by tracker and number.
    transaction: Option<(usize, u64)>,
}

impl SourceRecord for Record {
    fn offset(&self) -> i64 {
        self.offset
    }

    fn timestamp(&self) -> (Timestamp, TimestampKind) {
        (
            Timestamp::from_millis(self.appended),
            TimestampKind::LogAppendTime,
        )
    }

    fn key(&self) -> Option<&[u8]> {
        self.key.as_deref()
    }

    fn value(&self) -> Option<&[u8]> {
        Some(&self.value)
    }

    fn headers(&self) -> Option<OwnedHeaders> {
        None
    }
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// A session is active, and its event is written to this partition.
    Write { session: u8, partition: usize },
    /// A tracker reads up to this many records of one of its partitions.
    Read {
        tracker: usize,
        partition: usize,
        count: usize,
    },
    /// A tracker reads the watermarks of others and notes the time.
    Ask { tracker: usize },
    /// The brokers return the end offsets.
    Respond { tracker: usize },
    /// The response arrives.
    Arrive { tracker: usize },
    /// A tracker writes a batch.
    Flush { tracker: usize },
    /// Its transaction is committed, and the tracker hears of that.
    Commit { tracker: usize },
    /// Time passes.
    Wait { millis: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (tracker, partition) = (0..TRACKERS, 0..3_usize);
    let step = prop_oneof![
        4 => (0..6_u8, partition.clone()).prop_map(|(session, partition)| Step::Write { session, partition }),
        4 => (tracker.clone(), partition, 1..4_usize)
            .prop_map(|(tracker, partition, count)| Step::Read { tracker, partition, count }),
        3 => tracker.clone().prop_map(|tracker| Step::Ask { tracker }),
        3 => tracker.clone().prop_map(|tracker| Step::Respond { tracker }),
        3 => tracker.clone().prop_map(|tracker| Step::Arrive { tracker }),
        3 => tracker.clone().prop_map(|tracker| Step::Flush { tracker }),
        3 => tracker.prop_map(|tracker| Step::Commit { tracker }),
        2 => (1..50_i64).prop_map(|millis| Step::Wait { millis }),
    ];
    prop::collection::vec(step, 0..200)
}

/// The key and the value of a watermark record.
type WatermarkPair = (Vec<u8>, Option<Vec<u8>>);

struct Tracker {
    engine: Engine,
    positions: BTreeMap<i32, usize>,
    question: Option<(Reading, Upstream)>,
    response: Option<EndOffsets>,
    /// The number of the open transaction, and its watermark records.
    open: Option<(u64, Vec<WatermarkPair>)>,
    transactions: u64,
}

struct World {
    now: i64,
    logs: Vec<Vec<Record>>,
    committed: Vec<(usize, u64)>,
    watermarks: WatermarkStore,
    trackers: Vec<Tracker>,
    /// Session, home partition and append time of each event.
    events: Vec<(String, i32, i64)>,
}

impl World {
    fn new() -> Self {
        Self {
            now: START,
            logs: vec![Vec::new(); 3],
            committed: Vec::new(),
            watermarks: WatermarkStore::default(),
            trackers: (0..TRACKERS).map(tracker).collect(),
            events: Vec::new(),
        }
    }

    fn reading(&self) -> Reading {
        Reading {
            wall: Timestamp::from_millis(self.now),
            elapsed: Duration::from_millis(u64::try_from(self.now - START).unwrap()),
        }
    }

    fn take(&mut self, step: &Step) {
        // No two things happen at once.
        self.now += 1;
        match *step {
            Step::Write { session, partition } => self.write(session, partition),
            Step::Read {
                tracker,
                partition,
                count,
            } => self.read(tracker, partition, count),
            Step::Ask { tracker } => {
                let upstream = self
                    .watermarks
                    .upstream("session_logs", ROUTING, &key(tracker));
                self.trackers[tracker].question = Some((self.reading(), upstream));
            }
            Step::Respond { tracker } => {
                let ends =
                    |partition: &i32| i64::try_from(self.logs[index(*partition)].len()).unwrap();
                let owned = self.trackers[tracker].positions.keys();
                let ends = owned
                    .map(|partition| (*partition, ends(partition)))
                    .collect();
                if let Some((requested_at, upstream)) = self.trackers[tracker].question.take() {
                    self.trackers[tracker].response = Some(EndOffsets {
                        requested_at,
                        ends,
                        partition_count: Some(PARTITIONS),
                        topic_id: None,
                        upstream,
                    });
                }
            }
            Step::Arrive { tracker } => {
                if let Some(response) = self.trackers[tracker].response.take() {
                    let _hold = self.trackers[tracker]
                        .engine
                        .on_end_offsets(&response)
                        .unwrap();
                    self.check(tracker);
                }
            }
            Step::Flush { tracker } => self.flush(tracker),
            Step::Commit { tracker } => self.commit(tracker),
            Step::Wait { millis } => self.now += millis,
        }
    }

    fn write(&mut self, session: u8, partition: usize) {
        let id = format!("session-{session}");
        let home = murmur2_partition(Some(id.as_bytes()), PARTITIONS).unwrap();
        let at = self.now;
        let value = format!(r#"{{"session_id":"{id}","user_id":1,"activity_timestamp":{at}}}"#);
        self.append(partition, None, value.into_bytes(), None);
        self.events.push((id, home, at));
    }

    fn append(
        &mut self,
        partition: usize,
        key: Option<Vec<u8>>,
        value: Vec<u8>,
        transaction: Option<(usize, u64)>,
    ) {
        let log = &mut self.logs[partition];
        log.push(Record {
            offset: i64::try_from(log.len()).unwrap(),
            appended: self.now,
            key,
            value,
            transaction,
        });
    }

    fn read(&mut self, tracker: usize, partition: usize, count: usize) {
        let number = i32::try_from(partition).unwrap();
        let owner = &mut self.trackers[tracker];
        let Some(position) = owner.positions.get_mut(&number) else {
            return;
        };
        let is_stable = |record: &&Record| {
            record
                .transaction
                .is_none_or(|open| self.committed.contains(&open))
        };
        let records = self.logs[partition].iter().skip(*position);
        let records: Vec<_> = records.take_while(is_stable).take(count).cloned().collect();
        *position += records.len();
        owner
            .engine
            .apply(number, &records, Timestamp::from_millis(self.now));
    }

    fn flush(&mut self, tracker: usize) {
        let reading = self.reading();
        let owner = &mut self.trackers[tracker];
        if owner.open.is_some() {
            return;
        }
        let Some(batch) = owner.engine.take_batch(reading) else {
            return;
        };
        owner.transactions += 1;
        let transaction = (tracker, owner.transactions);
        let topics = topics();
        let options = EncodeOptions {
            delivery: Delivery::ExactlyOnce,
            max_dead_letter: usize::MAX,
        };
        let mut forwarded = Vec::new();
        outbox::write(&batch, topics, options, |record| {
            if record.topic == topics.session_logs {
                let (key, value) = (record.key.unwrap(), record.value.unwrap());
                forwarded.push((record.partition.unwrap(), key.to_vec(), value.to_vec()));
            }
            Ok::<(), ()>(())
        })
        .unwrap();
        let mut watermarks = Vec::new();
        outbox::write_last(&batch, topics, options, &key(tracker), |record| {
            let value = record.value.map(<[u8]>::to_vec);
            watermarks.push((record.key.unwrap().to_vec(), value));
            Ok::<(), ()>(())
        })
        .unwrap();
        owner.open = Some((transaction.1, watermarks));
        for (partition, key, value) in forwarded {
            self.append(index(partition), Some(key), value, Some(transaction));
        }
    }

    fn commit(&mut self, tracker: usize) {
        let elapsed = self.reading().elapsed;
        let owner = &mut self.trackers[tracker];
        if let Some((number, watermarks)) = owner.open.take() {
            self.committed.push((tracker, number));
            for (key, value) in watermarks {
                self.watermarks.apply(&key, value.as_deref()).unwrap();
            }
            owner.engine.committed(elapsed);
        }
    }

    /// Everything that belongs on a partition and was appended before its watermark has been
    /// applied there.
    fn check(&mut self, tracker: usize) {
        let engine = &self.trackers[tracker].engine;
        for (number, partition) in engine.assigned() {
            let partition = partition.unwrap();
            let watermark = partition.watermark();
            for (id, home, at) in &self.events {
                let at = Timestamp::from_millis(*at);
                if *home == number && at < watermark {
                    let found = partition.look_up(id);
                    let applied = matches!(found, Lookup::Live(live) if live.last_activity >= at);
                    assert!(
                        applied,
                        "{id} at {at:?} is missing on {number} at {watermark:?}"
                    );
                }
            }
        }
    }
}

fn index(partition: i32) -> usize {
    usize::try_from(partition).unwrap()
}

fn key(tracker: usize) -> Vec<u8> {
    format!("tracker-{tracker}").into_bytes()
}

fn topics() -> &'static Topics {
    static TOPICS: OnceLock<Topics> = OnceLock::new();
    TOPICS.get_or_init(|| {
        let cli = Cli::parse_from(["sundown", "topics", "plan"]);
        cli.global.topics.topics()
    })
}

/// A tracker that reads its share of the partitions from their beginning.
fn tracker(number: usize) -> Tracker {
    let (interval, skew) = (Duration::ZERO, Span::ZERO);
    let mut engine = Engine::new(interval, skew, RoutingMode::Any, ROUTING);
    engine.add_broker_sample(BrokerSample {
        append_time: None,
        sent: Duration::ZERO,
        acknowledged: Duration::ZERO,
    });
    let year = Policy::built_in(Span::from_secs(31_536_000), None);
    let policies = Arc::new(PolicySet::new(Vec::new(), year).unwrap());
    let owned = (0..PARTITIONS).filter(|partition| index(*partition) % TRACKERS == number);
    let mut positions = BTreeMap::new();
    for partition in owned {
        let restore_id = engine.assign(partition);
        let table = SessionTable::new(
            TableConfig::default(),
            Arc::clone(&policies),
            Timestamp::MIN,
        );
        let live = Box::new(Partition::new(partition, ROUTING, table, 0));
        assert!(engine.restored(restore_id, partition, live, Duration::ZERO));
        positions.insert(partition, 0);
    }
    Tracker {
        engine,
        positions,
        question: None,
        response: None,
        open: None,
        transactions: 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_watermark_proves_that_everything_before_it_has_been_applied(steps in steps()) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.take(step));
        // Without faults, all watermarks get there in the end.
        let last = Timestamp::from_millis(world.now);
        for _ in 0..12 {
            for tracker in 0..TRACKERS {
                let reads = (0..3).map(|partition| Step::Read { tracker, partition, count: usize::MAX });
                let rounds = [
                    Step::Ask { tracker },
                    Step::Respond { tracker },
                    Step::Flush { tracker },
                    Step::Commit { tracker },
                ];
                let arrival = [Step::Arrive { tracker }];
                rounds.into_iter().chain(reads).chain(arrival).for_each(|step| world.take(&step));
            }
        }
        for tracker in &world.trackers {
            for (_, partition) in tracker.engine.assigned() {
                prop_assert!(partition.unwrap().watermark() > last);
            }
        }
    }
}
