//! The simulated Kafka: partitions, the transaction coordinator, the group's offsets.

use std::collections::{BTreeMap, BTreeSet};

use sundown::kafka::topic_ids::TopicId;
use sundown::kafka::topic_reader::CommittedOffset;
use sundown::tracker::offset_metadata::{LogIdentity, OffsetMetadata};
use sundown::wire::record::TimestampKind;
use sundown::wire::routing::Routing;

use crate::brokers::Brokers;
use crate::group::{Group, GroupMetadata};
use crate::log::{Log, Record, Txn};
use crate::upstream::Upstream;

/// How long the coordinator waits for a silent producer.
const TRANSACTION_TIMEOUT: i64 = 10_000;

/// Where a transaction has written, and where its marker has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Source(i32),
    Checkpoint(i32),
    Ended,
    Expiring,
    Dead,
    Watermarks,
    Offsets,
    /// Of the topic that ingest reads.
    UpstreamOffsets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ongoing,
    /// Decided, while markers are on their way.
    Ending {
        commit: bool,
    },
    Done {
        committed: bool,
    },
}

#[derive(Debug)]
struct Transaction {
    state: State,
    began: i64,
    timeout: i64,
    /// Without a marker yet.
    places: Vec<Place>,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) &'static str);

/// All of Kafka.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The brokers' clock, in epoch milliseconds.
    pub(crate) now: i64,
    /// Whether brokers answer.
    pub(crate) up: bool,
    pub(crate) kind: TimestampKind,
    pub(crate) source: Vec<Log>,
    pub(crate) checkpoint: Vec<Log>,
    pub(crate) ended: Log,
    pub(crate) expiring: Log,
    pub(crate) dead: Log,
    pub(crate) watermarks: Log,
    pub(crate) group: Group,
    pub(crate) upstream: Upstream,
    pub(crate) brokers: Brokers,
    /// How far the clocks that stamp the records of source partitions are ahead.
    pub(crate) skews: Vec<i64>,
    /// How often the source topic and the checkpoint topic have been created again.
    pub(crate) recreated: (u32, u32),
    /// The partitions that have lost records before the committed offset.
    pub(crate) replaced: BTreeSet<i32>,
    /// How trackers agreed to distribute sessions, and for which source topic.
    pub(crate) agreed: Option<(Routing, u32)>,
    pub(crate) offsets: Vec<Option<CommittedOffset>>,
    pending: BTreeMap<Txn, Vec<(i32, CommittedOffset)>>,
    transactions: BTreeMap<Txn, Transaction>,
    /// Commit requests on their way, and when they arrive.
    delayed: Vec<(i64, Txn)>,
    /// What should never be, if it has come about.
    pub(crate) violation: Option<String>,
}

impl Cluster {
    pub(crate) fn new(now: i64, partitions: usize, kind: TimestampKind) -> Self {
        let logs = || (0..partitions).map(|_| Log::default()).collect();
        Self {
            now,
            up: true,
            kind,
            source: logs(),
            checkpoint: logs(),
            ended: Log::default(),
            expiring: Log::default(),
            dead: Log::default(),
            watermarks: Log::default(),
            group: Group::new(partitions),
            upstream: Upstream::new(partitions),
            brokers: Brokers::new(partitions),
            skews: vec![0; partitions],
            recreated: (0, 0),
            replaced: BTreeSet::new(),
            agreed: None,
            offsets: vec![None; partitions],
            pending: BTreeMap::new(),
            transactions: BTreeMap::new(),
            delayed: Vec::new(),
            violation: None,
        }
    }

    pub(crate) fn log(&self, place: Place) -> &Log {
        match place {
            Place::Source(partition) => &self.source[index(partition)],
            Place::Checkpoint(partition) => &self.checkpoint[index(partition)],
            Place::Expiring => &self.expiring,
            Place::Dead => &self.dead,
            Place::Watermarks => &self.watermarks,
            Place::Ended | Place::Offsets | Place::UpstreamOffsets => &self.ended,
        }
    }

    pub(crate) fn log_mut(&mut self, place: Place) -> &mut Log {
        match place {
            Place::Source(partition) => &mut self.source[index(partition)],
            Place::Checkpoint(partition) => &mut self.checkpoint[index(partition)],
            Place::Expiring => &mut self.expiring,
            Place::Dead => &mut self.dead,
            Place::Watermarks => &mut self.watermarks,
            Place::Ended | Place::Offsets | Place::UpstreamOffsets => &mut self.ended,
        }
    }

    pub(crate) fn begin(&mut self, timeout: Option<i64>) -> Txn {
        let txn = self.transactions.len() as Txn + 1;
        self.transactions.insert(
            txn,
            Transaction {
                state: State::Ongoing,
                began: self.now,
                timeout: timeout.unwrap_or(TRANSACTION_TIMEOUT),
                places: Vec::new(),
            },
        );
        txn
    }

    pub(crate) fn state(&self, txn: Txn) -> State {
        self.transactions[&txn].state
    }

    /// Appends a record. Refused if its transaction is over: timed out.
    pub(crate) fn append(
        &mut self,
        place: Place,
        txn: Option<Txn>,
        (key, value): (Option<Vec<u8>>, Option<Vec<u8>>),
        created: Option<i64>,
    ) -> Result<i64, Refused> {
        if let Some(txn) = txn {
            self.participate(txn, place)?;
        }
        let by_producer = created.filter(|_| self.kind == TimestampKind::CreateTime);
        let record = Record {
            offset: 0,
            timestamp: by_producer.unwrap_or_else(|| self.clock(place)),
            kind: self.kind,
            key,
            value,
            txn,
            marker: false,
            covered: None,
        };
        Ok(self.log_mut(place).append(record))
    }

    /// The time by the clock of the broker that leads a partition.
    pub(crate) fn clock(&self, place: Place) -> i64 {
        match place {
            Place::Source(partition) => self.now + self.skews[index(partition)],
            _ => self.now,
        }
    }

    /// The earliest and the latest of the brokers' clocks.
    pub(crate) fn clocks(&self) -> (i64, i64) {
        let ahead = || self.skews.iter().copied().chain([0]);
        let (earliest, latest) = (ahead().min(), ahead().max());
        (
            self.now + earliest.unwrap_or_default(),
            self.now + latest.unwrap_or_default(),
        )
    }

    /// Adds offsets to a transaction, for a member that the group still knows.
    pub(crate) fn add_offsets(
        &mut self,
        txn: Txn,
        group: GroupMetadata,
        offsets: Vec<(i32, CommittedOffset)>,
    ) -> Result<(), Refused> {
        self.participate(txn, Place::Offsets)?;
        self.group.check(group)?;
        self.pending.insert(txn, offsets);
        Ok(())
    }

    /// Adds partitions to the source topic.
    pub(crate) fn grow_source(&mut self, count: usize) {
        let grown = self.source.len().max(count);
        self.source.resize_with(grown, Log::default);
        self.offsets.resize(grown, None);
        self.skews.resize(grown, 0);
        self.brokers.grow(grown);
        self.group.grow(grown);
    }

    /// Adds partitions to the checkpoint topic.
    pub(crate) fn grow_checkpoint(&mut self, count: usize) {
        let grown = self.checkpoint.len().max(count);
        self.checkpoint.resize_with(grown, Log::default);
    }

    /// The topics, as a metadata request shows them.
    pub(crate) fn identity(&self) -> LogIdentity {
        LogIdentity {
            topic_id: topic_id('s', self.recreated.0),
            checkpoint_id: topic_id('c', self.recreated.1),
            partitions: i32::try_from(self.source.len()).ok(),
            ..LogIdentity::default()
        }
    }

    /// Commits offsets without a transaction.
    pub(crate) fn commit_offsets(
        &mut self,
        group: GroupMetadata,
        offsets: Vec<(i32, CommittedOffset)>,
    ) -> Result<(), Refused> {
        self.group.check(group)?;
        offsets.into_iter().for_each(|offset| self.store(offset));
        Ok(())
    }

    /// Decides a transaction; its markers are still to be written.
    pub(crate) fn end(&mut self, txn: Txn, commit: bool) -> Result<(), Refused> {
        let transaction = self.transactions.get_mut(&txn).ok_or(Refused("unknown"))?;
        if transaction.state != State::Ongoing {
            return Err(Refused("the transaction is over: fenced"));
        }
        transaction.state = State::Ending { commit };
        if transaction.places.is_empty() {
            transaction.state = State::Done { committed: commit };
        }
        Ok(())
    }

    /// The request to commit arrives later.
    pub(crate) fn end_later(&mut self, txn: Txn, after: i64) {
        self.delayed.push((self.now + after, txn));
    }

    /// Whether a transaction that began at `time` or before is not over: readers do not see what comes
    /// after its records.
    pub(crate) fn has_open_since(&self, time: i64) -> bool {
        let mut transactions = self.transactions.values();
        transactions.any(|one| one.began <= time && !matches!(one.state, State::Done { .. }))
    }

    /// Transactions that are decided and lack markers.
    pub(crate) fn ending(&self) -> Vec<Txn> {
        let ending = |(txn, transaction): (&Txn, &Transaction)| {
            matches!(transaction.state, State::Ending { .. }).then_some(*txn)
        };
        self.transactions.iter().filter_map(ending).collect()
    }

    /// Writes one of a transaction's markers; `which` chooses.
    pub(crate) fn mark(&mut self, txn: Txn, which: usize) {
        let now = self.now;
        let Some(transaction) = self.transactions.get_mut(&txn) else {
            return;
        };
        let State::Ending { commit } = transaction.state else {
            return;
        };
        let number = which % transaction.places.len();
        let place = transaction.places.swap_remove(number);
        if transaction.places.is_empty() {
            transaction.state = State::Done { committed: commit };
        }
        if place == Place::UpstreamOffsets {
            self.upstream.mark(txn, commit);
            return;
        }
        if place != Place::Offsets {
            self.log_mut(place).mark(txn, commit, now);
            return;
        }
        let offsets = self.pending.remove(&txn).unwrap_or_default();
        if commit {
            offsets.into_iter().for_each(|offset| self.store(offset));
        }
    }

    /// What the brokers do by themselves as time passes.
    pub(crate) fn tick(&mut self) {
        let now = self.now;
        let arrived: Vec<Txn> = self
            .delayed
            .extract_if(.., |(at, _)| *at <= now)
            .map(|(_, txn)| txn)
            .collect();
        for txn in arrived {
            // Too late if the transaction has been aborted since.
            let _fenced = self.end(txn, true);
        }
        for transaction in self.transactions.values_mut() {
            let expired = now - transaction.began > transaction.timeout;
            if transaction.state == State::Ongoing && expired {
                transaction.state = if transaction.places.is_empty() {
                    State::Done { committed: false }
                } else {
                    State::Ending { commit: false }
                };
            }
        }
        self.group.expire(now);
        self.upstream.tick(now);
    }

    /// The committed offset, unless a transaction is pending on it.
    pub(crate) fn committed(&self, partition: i32) -> Result<Option<CommittedOffset>, Refused> {
        let mut pending = self.pending.values().flatten();
        if pending.any(|(number, _)| *number == partition) {
            return Err(Refused("unstable"));
        }
        Ok(self.offsets[index(partition)].clone())
    }

    /// The committed offset, pending or not.
    pub(crate) fn last_offset(&self, partition: i32) -> i64 {
        let committed = self.offsets[index(partition)].as_ref();
        committed.map_or(0, |committed| committed.offset)
    }

    /// Adds a place to a transaction.
    pub(crate) fn participate(&mut self, txn: Txn, place: Place) -> Result<(), Refused> {
        let transaction = self.transactions.get_mut(&txn).ok_or(Refused("unknown"))?;
        if transaction.state != State::Ongoing {
            return Err(Refused("the transaction has timed out: fenced"));
        }
        if !transaction.places.contains(&place) {
            transaction.places.push(place);
        }
        Ok(())
    }

    /// Offsets and watermarks never go back.
    fn store(&mut self, (partition, new): (i32, CommittedOffset)) {
        let slot = &mut self.offsets[index(partition)];
        let decode = |committed: &CommittedOffset| OffsetMetadata::decode(&committed.metadata);
        let (offset, metadata) = (new.offset, decode(&new));
        if let Some(old) = slot {
            let watermark =
                |of: &CommittedOffset| decode(of).and_then(|metadata| metadata.watermark);
            if offset < old.offset || watermark(&new) < watermark(old) {
                self.violation = Some(format!(
                    "offset or watermark of partition {partition} went back: {new:?} after {old:?}"
                ));
            }
        }
        if metadata.is_none_or(|metadata| metadata.replay_from > offset) {
            self.violation = Some(format!("metadata beside offset {offset}: {new:?}"));
        }
        *slot = Some(new);
    }
}

fn topic_id(topic: char, recreated: u32) -> Option<TopicId> {
    TopicId::try_from(format!("{topic}{recreated:0>21}")).ok()
}

pub(crate) fn index(partition: i32) -> usize {
    usize::try_from(partition).expect("a partition")
}
