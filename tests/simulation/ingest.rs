//! A simulated ingest process: the code that decides what a commit states, around a simulated client.

mod commit;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sundown::ingest::progress::{StartOffset, WorkerProgress};
use sundown::kafka::group::Rebalance;
use sundown::session::Timestamp;
use sundown::wire::forwarded::SourceOffset;

use crate::cluster::{Cluster, State};
use crate::log::Txn;
use crate::upstream::{TOPIC, hold};
use commit::Commit;

/// Records between two commits, at most.
const MAX_BATCH: usize = 20;
/// Of how many records one has a schema of its own.
const OWN_SCHEMA: i64 = 4;

/// An ingest process.
#[derive(Debug)]
pub(crate) struct Ingest {
    rng: ChaCha8Rng,
    /// Its id in the group.
    id: u64,
    /// `None` before the worker has started.
    progress: Option<WorkerProgress>,
    /// Where the consumer fetches next.
    fetched: BTreeMap<i32, i64>,
    /// Partitions whose next record waits for its schema.
    waiting: BTreeSet<i32>,
    /// Assigned partitions whose committed offset is not known yet.
    starting: BTreeSet<i32>,
    batch: Vec<Output>,
    listing: Option<Listing>,
    commit: Option<Commit>,
    /// Its last transaction.
    txn: Option<Txn>,
    /// Whether it has been stopped without noticing.
    pub(crate) is_stalled: bool,
    /// No request is lost any more.
    is_calm: bool,
}

/// An event to write.
#[derive(Clone, Debug)]
struct Output {
    from: SourceOffset,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// End offsets that are being listed.
#[derive(Debug)]
struct Listing {
    requested_at: i64,
    missing: VecDeque<i32>,
    ends: Vec<(i32, i64)>,
}

/// A failure after which the worker starts again.
#[derive(Debug)]
struct Failed;

impl Ingest {
    pub(crate) fn new(cluster: &mut Cluster, seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            id: cluster.upstream.group.join(),
            progress: None,
            fetched: BTreeMap::new(),
            waiting: BTreeSet::new(),
            starting: BTreeSet::new(),
            batch: Vec::new(),
            listing: None,
            commit: None,
            txn: None,
            is_stalled: false,
            is_calm: false,
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Does some of what it could do now.
    pub(crate) fn go_on(&mut self, cluster: &mut Cluster) {
        self.is_calm = false;
        let steps = self.rng.random_range(0..12);
        for _ in 0..steps {
            self.step(cluster);
        }
    }

    /// Does all of what it can do now.
    pub(crate) fn go_on_well(&mut self, cluster: &mut Cluster) {
        self.is_calm = true;
        for _ in 0..150 {
            self.step(cluster);
        }
    }

    /// The process ends in good order, as far as the brokers let it.
    pub(crate) fn stop(mut self, cluster: &mut Cluster) {
        self.is_calm = true;
        if !self.is_stalled && cluster.up {
            self.finish_commit(cluster);
        }
        cluster.upstream.group.remove(self.id);
    }

    /// Whether everything has been read, committed and stated.
    pub(crate) fn caught_up(&self, cluster: &Cluster) -> bool {
        let Some(progress) = &self.progress else {
            return false;
        };
        let mut partitions = progress.partitions();
        self.batch.is_empty()
            && self.starting.is_empty()
            && self.waiting.is_empty()
            && partitions.all(|partition| {
                let next = progress.next(partition) >= Some(cluster.upstream.log(partition).end);
                next && progress.until(partition).is_some()
            })
    }

    /// The partitions that it reads.
    pub(crate) fn partitions(&self) -> usize {
        self.fetched.len()
    }

    pub(crate) fn describe(&self) -> String {
        let (fetched, waiting) = (&self.fetched, &self.waiting);
        let stage = self
            .commit
            .as_ref()
            .and_then(|commit| commit.stages.front());
        format!("reads at {fetched:?}, waits on {waiting:?}, commit: {stage:?}")
    }

    /// One thing that a worker does.
    fn step(&mut self, cluster: &mut Cluster) {
        if self.is_stalled || !cluster.up {
            return;
        }
        let outcome = if cluster.upstream.group.metadata(self.id).is_none() {
            Err(Failed)
        } else if self.commit.is_some() {
            self.step_commit(cluster)
        } else {
            self.work(cluster)
        };
        if outcome.is_err() {
            self.start_again(cluster);
        }
    }

    /// Starts again from the committed offsets, as another member.
    fn start_again(&mut self, cluster: &mut Cluster) {
        // The new producer has the same transactional id.
        if let Some(txn) = self.txn
            && cluster.state(txn) == State::Ongoing
        {
            let _decided = cluster.end(txn, false);
        }
        cluster.upstream.group.remove(self.id);
        let again = Self::new(cluster, self.rng.random());
        let (txn, is_calm) = (self.txn, self.is_calm);
        *self = again;
        (self.txn, self.is_calm) = (txn, is_calm);
    }

    fn work(&mut self, cluster: &mut Cluster) -> Result<(), Failed> {
        if self.progress.is_none() {
            self.progress = Some(WorkerProgress::new(TOPIC, hold(cluster)));
        }
        if let Some(change) = cluster.upstream.group.next_change(self.id) {
            return self.rebalance(cluster, &change);
        }
        self.find_starts(cluster);
        match self.rng.random_range(0..8) {
            0 => {
                self.start_commit(cluster);
                Ok(())
            }
            1..4 => {
                self.list_ends(cluster);
                Ok(())
            }
            _ => self.poll(cluster),
        }
    }

    fn rebalance(&mut self, cluster: &mut Cluster, change: &Rebalance) -> Result<(), Failed> {
        match change {
            Rebalance::Assigned(ids) => self.starting.extend(ids),
            Rebalance::Revoked(ids) => {
                if !self.finish_commit(cluster) {
                    return Err(Failed);
                }
                self.release(ids);
                cluster.upstream.group.give_back(self.id, ids);
            }
            Rebalance::Lost(ids) => self.release(ids),
        }
        Ok(())
    }

    fn release(&mut self, ids: &[i32]) {
        if let Some(progress) = &mut self.progress {
            progress.revoke(ids);
        }
        for id in ids {
            self.fetched.remove(id);
            self.starting.remove(id);
            self.waiting.remove(id);
        }
        self.batch.retain(|one| !ids.contains(&one.from.partition));
    }

    /// Begins to read assigned partitions whose committed offset is known by now.
    fn find_starts(&mut self, cluster: &Cluster) {
        for partition in self.starting.clone() {
            let Ok(committed) = cluster.upstream.committed(partition) else {
                continue;
            };
            let start = StartOffset {
                partition,
                offset: committed.unwrap_or_default(),
                committed: committed.is_some(),
            };
            if let Some(progress) = &mut self.progress {
                progress.assign(&[start]);
            }
            self.fetched.insert(partition, start.offset);
            self.starting.remove(&partition);
        }
    }

    /// Reads a record, or resumes a partition that waits for a schema.
    fn poll(&mut self, cluster: &Cluster) -> Result<(), Failed> {
        let Some(progress) = &mut self.progress else {
            return Ok(());
        };
        if cluster.upstream.registry_up {
            for partition in std::mem::take(&mut self.waiting) {
                let next = progress.next(partition).unwrap_or_default();
                self.fetched.insert(partition, next);
            }
        }
        if self.fetched.is_empty() || self.batch.len() >= MAX_BATCH {
            return Ok(());
        }
        let which = self.rng.random_range(0..self.fetched.len());
        let (&partition, position) = self.fetched.iter_mut().nth(which).expect("it is there");
        if self.waiting.contains(&partition) {
            return Ok(());
        }
        let Some(record) = cluster.upstream.log(partition).next(*position) else {
            return Ok(());
        };
        // The client is past it, whatever becomes of it.
        *position = record.offset + 1;
        let offset = record.offset;
        if !progress.accepts(partition, offset).map_err(|_| Failed)? {
            return Ok(());
        }
        if !cluster.upstream.registry_up && offset % OWN_SCHEMA == 0 {
            progress.await_record(partition, offset);
            self.waiting.insert(partition);
            return Ok(());
        }
        progress.read(partition, offset);
        self.batch.push(Output {
            from: SourceOffset { partition, offset },
            key: record.key.clone().unwrap_or_default(),
            value: record.value.clone().unwrap_or_default(),
        });
        Ok(())
    }

    /// Sends a request for end offsets, or takes the next response.
    fn list_ends(&mut self, cluster: &Cluster) {
        let Some(listing) = &mut self.listing else {
            self.listing = Some(Listing {
                requested_at: cluster.now,
                missing: self.fetched.keys().copied().collect(),
                ends: Vec::new(),
            });
            return;
        };
        if let Some(partition) = listing.missing.pop_front() {
            let end = cluster.upstream.log(partition).end;
            listing.ends.push((partition, end));
            return;
        }
        let at = Timestamp::from_millis(listing.requested_at);
        let count = Some(cluster.upstream.partitions());
        if let Some(progress) = &mut self.progress {
            progress.on_end_offsets(at, count, &listing.ends);
        }
        self.listing = None;
    }
}
