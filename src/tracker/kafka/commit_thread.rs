//! Commits beside the thread that consumes: while one batch is committed, the next one fills.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::consumer::ConsumerGroupMetadata;

use super::committer::Committer;
use crate::clock::Clock;
use crate::health::{Health, Heartbeat};
use crate::kafka::transaction::commit_error::CommitError;
use crate::tracker::assignment::CommitResult;
use crate::tracker::engine::Batch;
use crate::tracker::metrics::TrackerMetrics;
use crate::tracker::outbox::OutputCounts;

/// How often a batch is tried again after the brokers have acknowledged that it was aborted.
const MAX_RETRIES: u32 = 4;
/// The time in which a batch is tried again: a rebalance waits for it.
const RETRY_WINDOW: Duration = Duration::from_secs(20);
/// The longest wait before the first retry, in milliseconds; doubles with each further one.
const MAX_BACKOFF_MS: u64 = 200;

/// Much longer than a commit takes whose every call times out as often as it is retried.
const MAX_COMMIT: Duration = Duration::from_secs(300);

/// A thread that commits one batch at a time.
#[derive(Debug)]
pub struct CommitThread {
    batches: Option<SyncSender<(Batch, ConsumerGroupMetadata)>>,
    results: Receiver<CommitResult>,
    thread: Option<JoinHandle<()>>,
    busy: bool,
}

impl CommitThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        mut committer: Committer,
        clock: Clock,
        metrics: TrackerMetrics,
        health: &Health,
    ) -> std::io::Result<Self> {
        let (batches, queue) = sync_channel::<(Batch, ConsumerGroupMetadata)>(1);
        let (sender, results) = sync_channel(1);
        let work = move |heartbeat: Heartbeat| {
            heartbeat.wait_for_work();
            for (batch, group) in queue {
                heartbeat.beat();
                let (outcome, took) = commit(&mut committer, &batch, &group, clock, &metrics);
                heartbeat.wait_for_work();
                if outcome.as_ref().is_err_and(CommitError::is_fenced) {
                    metrics.fenced();
                }
                let outcome = outcome.map_err(anyhow::Error::new);
                let _gone = sender.send(CommitResult { outcome, took });
            }
        };
        Ok(Self {
            batches: Some(batches),
            results,
            thread: Some(health.spawn("commit", MAX_COMMIT, work)?),
            busy: false,
        })
    }

    /// Returns whether a commit is in progress; another one has to wait.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Commits `batch`; only while not [busy](CommitThread::is_busy).
    pub fn submit(&mut self, batch: Batch, group: ConsumerGroupMetadata) {
        if let Some(batches) = &self.batches {
            // The thread lives as long as the sender.
            self.busy = batches.send((batch, group)).is_ok();
        }
    }

    /// Returns the result of the commit in progress, waiting for it up to `timeout`.
    pub fn take_result(&mut self, timeout: Duration) -> Option<CommitResult> {
        if !self.busy {
            return None;
        }
        match self.results.recv_timeout(timeout) {
            Ok(result) => {
                self.busy = false;
                Some(result)
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Ends the thread. A busy one ends with the process: no broker answers it, and brokers
    /// abort its transaction when they are back.
    pub fn stop(mut self) {
        self.batches = None;
        if self.busy {
            tracing::warn!(
                "stopping while a commit is in progress; if it does not finish, its events will be read again"
            );
        } else if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the commit thread panicked");
        }
    }
}

/// Commits a batch, and tries it again while the brokers acknowledge that it was aborted: then the
/// state in memory, which is that after the batch, needs no restore. Returns the duration of the
/// last attempt too.
fn commit(
    committer: &mut Committer,
    batch: &Batch,
    group: &ConsumerGroupMetadata,
    clock: Clock,
    metrics: &TrackerMetrics,
) -> (Result<OutputCounts, CommitError>, Duration) {
    let first = clock.elapsed();
    let mut retries = 0;
    loop {
        let start = clock.elapsed();
        let outcome = committer.commit(batch, group);
        let took = clock.elapsed().saturating_sub(start);
        let in_time = clock.elapsed().saturating_sub(first) < RETRY_WINDOW;
        match outcome {
            Err(error) if retries < MAX_RETRIES && in_time && committer.may_retry(&error) => {
                metrics.aborted(took);
                tracing::warn!(%error, retries, "transaction aborted; retrying the same batch");
                thread::sleep(backoff(retries));
                retries += 1;
            }
            outcome => return (outcome, took),
        }
    }
}

/// Jittered, so that trackers that the same fault has hit do not retry at once.
fn backoff(retries: u32) -> Duration {
    let longest = MAX_BACKOFF_MS << retries;
    Duration::from_millis(rand::random_range(longest / 2..=longest))
}
