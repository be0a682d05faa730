//! When the loop commits, and what it does with the outcome.

use std::time::Duration;

use rdkafka::consumer::Consumer;

use super::{COMMIT_PATIENCE, Worker};
use crate::kafka::commit_thread::Committed;

impl Worker {
    /// Hands a batch to the commit thread when its time has come.
    pub(super) fn commit_if_due(&mut self) {
        let now = self.reading();
        if !self.engine.due(now.elapsed) {
            return;
        }
        if self.parts.commits.busy() {
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
        let Some(group) = self.parts.consumer.group_metadata() else {
            return;
        };
        self.step_past_control_records();
        let now = self.reading();
        if let Some(batch) = self.engine.take_batch(now) {
            self.parts.commits.submit(batch, group);
        }
    }

    /// Takes the result of the commit that is under way, waiting for it up to `patience`.
    pub(super) fn take_commit(&mut self, patience: Duration) {
        let Some(Committed {
            batch,
            outcome,
            took,
        }) = self.parts.commits.result(patience)
        else {
            return;
        };
        match outcome {
            Ok(()) => {
                let lateness = self.settings.table.allowed_lateness;
                self.metrics
                    .committed(&batch, self.clock.wall(), lateness, took.as_secs_f64());
            }
            Err(error) => {
                self.metrics.aborted(took.as_secs_f64());
                tracing::warn!(%error, "the transaction came to nothing; restoring all partitions");
                self.restore_everything();
            }
        }
    }

    /// Commits everything now, and waits for it.
    pub(super) fn commit_now(&mut self, patience: Duration) {
        self.take_commit(patience);
        if !self.parts.commits.busy() {
            self.submit_batch();
            self.take_commit(patience);
        }
    }
}
