//! When to commit, and what to do with the outcome.

use std::time::Duration;

use super::rebalance::COMMIT_PATIENCE;
use super::{Committed, Io, ManagerEvent, PartitionManager};

impl<S: Io> PartitionManager<S> {
    /// Hands a batch over when its time has come.
    pub(super) fn commit_if_due(&mut self) {
        let now = self.io.reading();
        if !self.engine.due(now.elapsed) {
            return;
        }
        if self.io.committing() {
            // The next batch goes on growing, but not for ever.
            if self.engine.full() {
                self.take_commit(COMMIT_PATIENCE);
            }
            return;
        }
        self.submit_batch();
    }

    fn submit_batch(&mut self) {
        // Asked for first: a batch that is taken has to be committed.
        let Some(group) = self.io.group_metadata() else {
            return;
        };
        self.step_past_control_records();
        let now = self.io.reading();
        if let Some(batch) = self.engine.take_batch(now) {
            self.io.commit(batch, group);
        }
    }

    /// Takes the result of the commit that is under way, waiting for it up to `patience`.
    pub(super) fn take_commit(&mut self, patience: Duration) {
        let Some(Committed {
            batch,
            outcome,
            took,
        }) = self.io.committed(patience)
        else {
            return;
        };
        match outcome {
            Ok(()) => self.io.tell(ManagerEvent::Committed(&batch, took)),
            Err(error) => {
                self.io.tell(ManagerEvent::Aborted(took));
                tracing::warn!(%error, "the transaction came to nothing; restoring all partitions");
                self.restore_everything();
            }
        }
    }

    /// Commits everything now, and waits for it up to `patience`.
    pub fn commit_now(&mut self, patience: Duration) {
        self.take_commit(patience);
        if !self.io.committing() {
            self.submit_batch();
            self.take_commit(patience);
        }
    }
}
