//! A tracker's transactional producer, one small step at a time.

use std::collections::VecDeque;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sundown::kafka::Topics;
use sundown::kafka::topic_reader::CommittedOffset;
use sundown::kafka::transaction::delivery::{Delivery, Stage};
use sundown::kafka::transaction::record::ProducerRecord;
use sundown::session::Timestamp;
use sundown::tracker::assignment::CommitResult;
use sundown::tracker::engine::Batch;
use sundown::tracker::outbox::{self, EncodeOptions, OutputCounts};

use crate::cluster::{Cluster, Place, State};
use crate::group::GroupMetadata;
use crate::log::Txn;

/// A record to write.
#[derive(Debug)]
struct Output {
    place: Place,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// The timestamp to keep.
    created: Option<i64>,
    /// The source offset that is committed after it, if it is in no transaction.
    covered: Option<i64>,
}

/// How likely the brokers' answer to a request is lost, in a thousand.
const LOST: u32 = 8;
/// A request counts as lost after this time, in milliseconds.
const REQUEST_TIMEOUT: i64 = 8_000;

/// The producer of one process.
#[derive(Debug)]
pub(crate) struct Producer {
    delivery: Delivery,
    /// The key of its process's watermark record.
    process: Vec<u8>,
    /// Its last transaction.
    txn: Option<Txn>,
    under_way: Option<UnderWay>,
    done: Option<CommitResult>,
    /// Its requests do not reach the brokers before then.
    pub(crate) delayed_until: i64,
    /// No request is lost and none dawdles any more.
    pub(crate) calm: bool,
}

#[derive(Debug)]
struct UnderWay {
    batch: Batch,
    group: GroupMetadata,
    began: i64,
    stages: VecDeque<Stage>,
    records: Option<VecDeque<Output>>,
    counts: OutputCounts,
}

impl Producer {
    pub(crate) fn new(process: u64, delivery: Delivery) -> Self {
        Self {
            delivery,
            process: format!("tracker-{process}").into_bytes(),
            txn: None,
            under_way: None,
            done: None,
            delayed_until: 0,
            calm: false,
        }
    }

    pub(crate) fn process(&self) -> &[u8] {
        &self.process
    }

    pub(crate) fn busy(&self) -> bool {
        self.under_way.is_some() || self.done.is_some()
    }

    /// Whether it is writing more than watermarks.
    pub(crate) fn writes_outputs(&self) -> bool {
        let work = self.under_way.as_ref();
        work.is_some_and(|work| !work.batch.partitions.is_empty())
    }

    pub(crate) fn submit(&mut self, batch: Batch, group: GroupMetadata, now: i64) {
        assert!(!self.busy(), "one batch at a time");
        self.under_way = Some(UnderWay {
            batch,
            group,
            began: now,
            stages: self.delivery.stages().iter().copied().collect(),
            records: None,
            counts: OutputCounts::default(),
        });
    }

    pub(crate) fn result(&mut self) -> Option<CommitResult> {
        self.done.take()
    }

    /// Takes one step. Returns whether there was one to take.
    pub(crate) fn step(&mut self, cluster: &mut Cluster, rng: &mut ChaCha8Rng) -> bool {
        let Some(work) = &mut self.under_way else {
            return false;
        };
        if !cluster.up || cluster.now < self.delayed_until {
            if cluster.now - work.began > REQUEST_TIMEOUT {
                self.finish(cluster.now, Err("no answer"));
            }
            return false;
        }
        let stage = work.stages.front().copied();
        let outcome = match stage {
            None => {
                self.finish(cluster.now, Ok(()));
                return true;
            }
            Some(Stage::Begin) => self.begin(cluster),
            Some(stage @ (Stage::Write | Stage::WriteWatermarks)) => self.write(cluster, stage),
            Some(Stage::AddOffsets) => self.add_offsets(cluster, rng),
            Some(Stage::Commit) => self.commit(cluster, rng),
            Some(Stage::CommitOffsets) => self.commit_offsets(cluster, rng),
        };
        if let Err(error) = outcome {
            if let Some(txn) = self.txn {
                // Where this is refused, the transaction is over or in doubt: the next
                // one waits for it.
                if error != IN_DOUBT {
                    let _over = cluster.end(txn, false);
                }
            }
            self.finish(cluster.now, Err(error));
        }
        true
    }

    /// Waits until the previous transaction has ended, and aborts it if the brokers do not.
    fn begin(&mut self, cluster: &mut Cluster) -> Result<(), &'static str> {
        match self.txn.map(|txn| (txn, cluster.state(txn))) {
            Some((txn, State::Ongoing)) => cluster.end(txn, false).map_err(|error| error.0),
            Some((_, State::Ending { .. })) => Ok(()),
            Some((_, State::Done { .. })) | None => {
                self.txn = Some(cluster.begin(None));
                self.next_stage();
                Ok(())
            }
        }
    }

    fn write(&mut self, cluster: &mut Cluster, stage: Stage) -> Result<(), &'static str> {
        let txn = self.txn;
        let Some(work) = &mut self.under_way else {
            return Ok(());
        };
        if work.records.is_none() {
            let process = (stage == Stage::WriteWatermarks).then_some(&*self.process);
            let (records, counts) = encode(&work.batch, self.delivery, process);
            work.records = Some(records);
            if stage == Stage::Write {
                work.counts = counts;
            }
        }
        let records = work.records.get_or_insert_default();
        match records.pop_front() {
            None => {
                work.records = None;
                self.next_stage();
            }
            Some(output) => {
                let pair = (output.key, output.value);
                let appended = cluster.append(output.place, txn, pair, output.created);
                let offset = appended.map_err(|error| error.0)?;
                cluster.log_mut(output.place).cover(offset, output.covered);
            }
        }
        Ok(())
    }

    fn add_offsets(
        &mut self,
        cluster: &mut Cluster,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), &'static str> {
        let (Some(work), Some(txn)) = (&self.under_way, self.txn) else {
            return Ok(());
        };
        let added = cluster.add_offsets(txn, work.group, offsets(&work.batch));
        added.map_err(|error| error.0)?;
        if self.unlucky(rng) {
            return Err(IN_DOUBT);
        }
        self.next_stage();
        Ok(())
    }

    fn commit(&mut self, cluster: &mut Cluster, rng: &mut ChaCha8Rng) -> Result<(), &'static str> {
        let Some(txn) = self.txn else {
            return Err("there is no transaction");
        };
        if self.unlucky(rng) {
            // The request may be lost, or late, or its answer may be.
            match rng.random_range(0..3) {
                0 => {}
                1 => cluster.end_later(txn, rng.random_range(1..9_000)),
                _ => drop(cluster.end(txn, true)),
            }
            return Err(IN_DOUBT);
        }
        cluster.end(txn, true).map_err(|error| error.0)?;
        self.next_stage();
        Ok(())
    }

    fn commit_offsets(
        &mut self,
        cluster: &mut Cluster,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), &'static str> {
        if self.unlucky(rng) {
            // The request or its answer is lost.
            if let Some(work) = self.under_way.as_ref().filter(|_| rng.random_ratio(1, 2)) {
                let _refused = cluster.commit_offsets(work.group, offsets(&work.batch));
            }
            return Err(IN_DOUBT);
        }
        let with_offsets = |work: &&UnderWay| !work.batch.partitions.is_empty();
        if let Some(work) = self.under_way.as_ref().filter(with_offsets) {
            let committed = cluster.commit_offsets(work.group, offsets(&work.batch));
            committed.map_err(|error| error.0)?;
        }
        self.next_stage();
        Ok(())
    }

    fn unlucky(&self, rng: &mut ChaCha8Rng) -> bool {
        !self.calm && rng.random_ratio(LOST, 1_000)
    }

    fn next_stage(&mut self) {
        if let Some(work) = &mut self.under_way {
            work.stages.pop_front();
        }
    }

    fn finish(&mut self, now: i64, outcome: Result<(), &str>) {
        if let Some(work) = self.under_way.take() {
            let took = u64::try_from(now - work.began).unwrap_or_default();
            let outcome = outcome.map(|()| work.counts);
            self.done = Some(CommitResult {
                outcome: outcome.map_err(|error| anyhow::anyhow!("{error}")),
                took: Duration::from_millis(took),
            });
        }
    }
}

const IN_DOUBT: &str = "no answer: in doubt";

fn offsets(batch: &Batch) -> Vec<(i32, CommittedOffset)> {
    let parts = batch.partitions.iter();
    parts
        .map(|part| {
            let committed = CommittedOffset {
                offset: part.position,
                metadata: part.metadata.encode(),
            };
            (part.partition, committed)
        })
        .collect()
}

/// Encodes the records of a stage of the batch, and counts them.
fn encode(
    batch: &Batch,
    delivery: Delivery,
    process: Option<&[u8]>,
) -> (VecDeque<Output>, OutputCounts) {
    let topics = topics();
    let options = EncodeOptions {
        delivery,
        max_dead_letter: usize::MAX,
    };
    let mut records = VecDeque::new();
    let send = |record: ProducerRecord<'_>| {
        records.push_back(output(&topics, &record));
        Ok::<(), ()>(())
    };
    let counts = match process {
        None => outbox::write(batch, &topics, options, send),
        Some(process) => outbox::write_last(batch, &topics, options, process, send),
    };
    (records, counts.expect("writing to memory does not fail"))
}

fn output(topics: &Topics, record: &ProducerRecord<'_>) -> Output {
    let place = match (record.topic, record.partition) {
        (topic, Some(partition)) if topic == topics.checkpoint => Place::Checkpoint(partition),
        (topic, Some(partition)) if topic == topics.session_logs => Place::Source(partition),
        (topic, Some(_)) if topic == topics.watermarks => Place::Watermarks,
        (topic, None) if topic == topics.expired_sessions => Place::Ended,
        (topic, None) if topic == topics.expiring_sessions => Place::Expiring,
        (topic, None) if topic == topics.session_logs_dlq => Place::Dead,
        other => panic!("nothing is written to {other:?}"),
    };
    let key = if place == Place::Dead {
        record.headers.as_ref().map(origin)
    } else {
        record.key.map(<[u8]>::to_vec)
    };
    Output {
        place,
        key,
        value: record.value.map(<[u8]>::to_vec),
        created: record.timestamp.map(Timestamp::as_millis),
        covered: record.headers.as_ref().and_then(covered),
    }
}

/// The source offset that is committed after a checkpoint record.
fn covered(headers: &rdkafka::message::OwnedHeaders) -> Option<i64> {
    use rdkafka::message::Headers;
    let found = headers.iter().find(|header| header.key == outbox::POSITION);
    std::str::from_utf8(found?.value?).ok()?.parse().ok()
}

/// Where a dead letter comes from: `partition/offset`.
fn origin(headers: &rdkafka::message::OwnedHeaders) -> Vec<u8> {
    use rdkafka::message::Headers;
    use sundown::wire::dead_letter::{SOURCE_OFFSET, SOURCE_PARTITION};
    let header = |name| {
        let found = headers.iter().find(|header| header.key == name);
        let value = found.and_then(|header| header.value).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    };
    format!("{}/{}", header(SOURCE_PARTITION), header(SOURCE_OFFSET)).into_bytes()
}

pub(crate) fn topics() -> Topics {
    let name = str::to_owned;
    Topics {
        session_logs: name("session_logs"),
        session_logs_dlq: name("session_logs.dlq"),
        expired_sessions: name("expired_sessions"),
        expired_sessions_dlq: name("expired_sessions.dlq"),
        expiring_sessions: name("expiring_sessions"),
        checkpoint: name("sundown.checkpoint"),
        policies: name("sundown.policies"),
        processes: name("sundown.processes"),
        watermarks: name("sundown.watermarks"),
        audit: name("sundown.audit"),
    }
}
