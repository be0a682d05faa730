//! Commits, one small step at a time.

use std::collections::VecDeque;

use rand::RngExt;
use sundown::ingest::progress::PendingCommit;
use sundown::kafka::transaction::delivery::{Delivery, Stage};
use sundown::wire::forwarded::SourceOffset;
use sundown::wire::partitioner::murmur2_partition;

use super::{Failed, Ingest, Output};
use crate::cluster::{Cluster, Place, State};
use crate::group::GroupMetadata;
use crate::upstream::{EventCopy, statement};

/// How likely the brokers' answer to a commit is lost, in a thousand.
const LOST: u32 = 8;
/// A request counts as lost after this time, in milliseconds.
const REQUEST_TIMEOUT: i64 = 8_000;
#[derive(Debug)]
pub(super) struct Commit {
    pending: PendingCommit,
    group: GroupMetadata,
    pub(super) stages: VecDeque<Stage>,
    outputs: VecDeque<Output>,
    began: i64,
}

impl Ingest {
    pub(super) fn start_commit(&mut self, cluster: &Cluster) {
        let (Some(progress), Some(group)) =
            (&mut self.progress, cluster.upstream.group.metadata(self.id))
        else {
            return;
        };
        let known: Vec<_> = self.fetched.iter().map(|(one, at)| (*one, *at)).collect();
        let positions = progress.positions(&known);
        let pending = progress.pending(&positions);
        if pending.is_empty() {
            return;
        }
        self.commit = Some(Commit {
            pending,
            group,
            stages: Delivery::ExactlyOnce.stages().iter().copied().collect(),
            outputs: self.batch.iter().cloned().collect(),
            began: cluster.now,
        });
    }

    /// Commits without a pause, as before partitions are given back; returns whether that worked.
    pub(super) fn finish_commit(&mut self, cluster: &mut Cluster) -> bool {
        if self.commit.is_none() {
            self.start_commit(cluster);
        }
        while self.commit.is_some() {
            if self.step_commit(cluster).is_err() {
                return false;
            }
            if let Some(txn) = self.txn {
                cluster.mark(txn, 0);
            }
        }
        true
    }

    /// Takes one step of a commit.
    pub(super) fn step_commit(&mut self, cluster: &mut Cluster) -> Result<(), Failed> {
        let Some(commit) = &mut self.commit else {
            return Ok(());
        };
        if cluster.now - commit.began > REQUEST_TIMEOUT {
            return Err(Failed);
        }
        let Some(stage) = commit.stages.front().copied() else {
            let commit = self.commit.take().expect("it is there");
            self.batch.clear();
            if let Some(progress) = &mut self.progress {
                progress.committed(&commit.pending);
            }
            return Ok(());
        };
        let is_done = match stage {
            Stage::Begin => self.begin(cluster)?,
            Stage::Write => self.write(cluster)?,
            Stage::WriteWatermarks => self.write_watermarks(cluster)?,
            Stage::AddOffsets => self.add_offsets(cluster)?,
            Stage::Commit => self.end(cluster)?,
            Stage::CommitOffsets => panic!("it is in the transaction"),
        };
        if let Some(commit) = self.commit.as_mut().filter(|_| is_done) {
            commit.stages.pop_front();
        }
        Ok(())
    }

    /// Waits for the end of the last transaction, and aborts it if it has not been decided.
    fn begin(&mut self, cluster: &mut Cluster) -> Result<bool, Failed> {
        match self.txn.map(|txn| (txn, cluster.state(txn))) {
            Some((txn, State::Ongoing)) => {
                cluster.end(txn, false).map_err(|_| Failed)?;
                Ok(false)
            }
            Some((_, State::Ending { .. })) => Ok(false),
            Some((_, State::Done { .. })) | None => {
                self.txn = Some(cluster.begin(None));
                Ok(true)
            }
        }
    }

    fn write(&mut self, cluster: &mut Cluster) -> Result<bool, Failed> {
        let (Some(commit), Some(txn)) = (&mut self.commit, self.txn) else {
            return Err(Failed);
        };
        let Some(output) = commit.outputs.pop_front() else {
            return Ok(true);
        };
        let count = cluster.partitions().end;
        let partition = murmur2_partition(Some(&output.key), count).unwrap_or_default();
        let pair = (Some(output.key), Some(output.value));
        let place = Place::Source(partition);
        let created = Some(cluster.now);
        let offset = cluster.append(place, Some(txn), pair, created);
        let offset = offset.map_err(|_| Failed)?;
        cluster.upstream.copies.push(EventCopy {
            from: output.from,
            to: SourceOffset { partition, offset },
            txn,
        });
        Ok(false)
    }

    fn write_watermarks(&mut self, cluster: &mut Cluster) -> Result<bool, Failed> {
        let Some(commit) = &self.commit else {
            return Err(Failed);
        };
        for (partition, record) in &commit.pending.watermarks {
            let pair = statement(*partition, record);
            let appended = cluster.append(Place::Watermarks, self.txn, pair, None);
            appended.map_err(|_| Failed)?;
        }
        Ok(true)
    }

    fn add_offsets(&mut self, cluster: &mut Cluster) -> Result<bool, Failed> {
        let (Some(commit), Some(txn)) = (&self.commit, self.txn) else {
            return Err(Failed);
        };
        let added = cluster.participate(txn, Place::UpstreamOffsets);
        added.map_err(|_| Failed)?;
        let member = cluster.upstream.group.check(commit.group);
        member.map_err(|_| Failed)?;
        let offsets = commit.pending.positions.clone();
        cluster.upstream.add_offsets(txn, offsets);
        Ok(true)
    }

    fn end(&mut self, cluster: &mut Cluster) -> Result<bool, Failed> {
        let Some(txn) = self.txn else {
            return Err(Failed);
        };
        let is_unlucky = !self.is_calm && self.rng.random_ratio(LOST, 1_000);
        // The request gets lost, or only the response.
        if is_unlucky && self.rng.random_ratio(1, 2) {
            return Err(Failed);
        }
        cluster.end(txn, true).map_err(|_| Failed)?;
        if is_unlucky { Err(Failed) } else { Ok(true) }
    }
}
