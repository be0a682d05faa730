//! Commits beside the thread that consumes: while one batch is being committed, the
//! next one comes together.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;

use super::commit_error::CommitError;
use super::committer::Committer;
use crate::clock::Clock;
use crate::tracker::assignment::Committed;
use crate::tracker::engine::Batch;

/// A thread that commits one batch at a time.
#[derive(Debug)]
pub struct CommitThread {
    batches: Option<SyncSender<(Batch, ConsumerGroupMetadata)>>,
    results: Receiver<Committed<CommitError>>,
    thread: Option<JoinHandle<()>>,
    busy: bool,
}

impl CommitThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(mut committer: Committer, clock: Clock) -> std::io::Result<Self> {
        let (batches, queue) = sync_channel::<(Batch, ConsumerGroupMetadata)>(1);
        let (sender, results) = sync_channel(1);
        let work = move || {
            for (batch, group) in queue {
                let start = clock.elapsed();
                let outcome = committer.commit(&batch, &group);
                let took = clock.elapsed().saturating_sub(start);
                let _gone = sender.send(Committed {
                    batch,
                    outcome,
                    took,
                });
            }
        };
        Ok(Self {
            batches: Some(batches),
            results,
            thread: Some(
                thread::Builder::new()
                    .name("commit".to_owned())
                    .spawn(work)?,
            ),
            busy: false,
        })
    }

    /// Whether a batch is being committed; another one has to wait.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.busy
    }

    /// Commits `batch`; only while not [`busy`](CommitThread::busy).
    pub fn submit(&mut self, batch: Batch, group: ConsumerGroupMetadata) {
        if let Some(batches) = &self.batches {
            // The thread lives as long as this end does.
            self.busy = batches.send((batch, group)).is_ok();
        }
    }

    /// The batch that has been dealt with, if one has; waits for it up to `patience`.
    pub fn result(&mut self, patience: Duration) -> Option<Committed<CommitError>> {
        if !self.busy {
            return None;
        }
        match self.results.recv_timeout(patience) {
            Ok(result) => {
                self.busy = false;
                Some(result)
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Ends the thread. One that is still busy is left to end with the process: no broker
    /// answers it, and those that come back will abort its transaction.
    pub fn stop(mut self) {
        self.batches = None;
        if self.busy {
            tracing::warn!(
                "stopping with a commit under way; what it does not reach will be done again"
            );
        } else if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the commit thread has panicked");
        }
    }
}
