//! When to commit, and what follows.

use std::time::Duration;

use super::rebalance::REBALANCE_COMMIT_TIMEOUT;
use super::{CommitResult, Io, ManagerEvent, PartitionManager};

impl<I: Io> PartitionManager<I> {
    /// Starts a commit if one is due.
    pub(super) fn commit_if_due(&mut self) {
        let now = self.io.reading();
        if !self.engine.commit_due(now.elapsed) {
            return;
        }
        if self.io.is_committing() {
            // The next batch may grow meanwhile, up to its limits.
            if self.engine.is_full() {
                self.finish_commit(REBALANCE_COMMIT_TIMEOUT);
            }
            return;
        }
        self.start_commit();
    }

    fn start_commit(&mut self) {
        // Checked first: a batch that has been taken has to be committed.
        let Some(group) = self.io.group_metadata() else {
            return;
        };
        self.advance_positions();
        let now = self.io.reading();
        if let Some(batch) = self.engine.take_batch(now) {
            self.committing = batch.partitions.iter().map(|part| part.partition).collect();
            self.io.start_commit(batch, group);
        }
    }

    /// Handles the result of the commit in progress, waiting for it up to `timeout`.
    pub(super) fn finish_commit(&mut self, timeout: Duration) {
        let Some(CommitResult { outcome, took }) = self.io.take_commit_result(timeout) else {
            return;
        };
        self.committing.clear();
        match outcome {
            Ok(counts) => {
                self.engine.committed(self.io.reading().elapsed);
                self.io.handle(ManagerEvent::Committed(&counts, took));
            }
            Err(error) => {
                self.io.handle(ManagerEvent::Aborted(took));
                tracing::warn!(%error, "transaction aborted; restoring all partitions");
                self.restore_all();
            }
        }
    }

    /// Commits everything now, waiting up to `timeout` for each of at most two commits.
    pub fn commit_now(&mut self, timeout: Duration) {
        self.finish_commit(timeout);
        if !self.io.is_committing() {
            self.start_commit();
            self.finish_commit(timeout);
        }
    }
}
