//! Restores partitions from Kafka, beside the thread that consumes.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::restore_log::KafkaLog;
use super::restore_log::RestoreError;
use crate::clock::Clock;
use crate::health::{Health, Heartbeat};
use crate::kafka::Topics;
use crate::kafka::recreating_producer::recreate;
use crate::tracker::assignment::{RestoreOutcome, RestoreResult};
use crate::tracker::engine::RestoreId;
use crate::tracker::metrics::TrackerMetrics;
use crate::tracker::restore::{RestoreSettings, Restored, restore};

/// Partitions restored concurrently.
const WORKERS: usize = 3;

/// Bounds a step of a restore: longer than the requests take that precede reading.
const MAX_STEP: Duration = Duration::from_secs(120);

/// Threads that restore partitions.
#[derive(Debug)]
pub struct RestorePool {
    jobs: Sender<RestoreJob>,
    results: Receiver<RestoreResult>,
    clock: Clock,
}

#[derive(Debug)]
struct RestoreJob {
    restore_id: RestoreId,
    settings: RestoreSettings,
    submitted_at: Duration,
}

impl RestorePool {
    /// Starts the threads, which end after `stop`. `config` is that of a group member, because
    /// the committed offsets are the group's.
    ///
    /// # Errors
    /// If a client cannot be created or a thread cannot be started.
    pub fn start(
        config: &ClientConfig,
        topics: &Topics,
        clock: Clock,
        (health, metrics): (&Health, &TrackerMetrics),
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let (jobs, queue) = channel::<RestoreJob>();
        let (sender, results) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..WORKERS {
            let (config, topics, stop) = (config.clone(), topics.clone(), stop.clone());
            let open = move || KafkaLog::new(&config, topics.clone(), clock, stop.clone());
            let mut log = open()?;
            let (queue, sender) = (Arc::clone(&queue), sender.clone());
            let metrics = metrics.clone();
            let work = move |heartbeat: Heartbeat| {
                heartbeat.wait_for_work();
                // The queue ends with the pool.
                while let Ok(job) = { queue.lock().unwrap_or_else(PoisonError::into_inner).recv() }
                {
                    let partition = job.settings.partition;
                    heartbeat.beat();
                    log.begin(partition, Some(heartbeat.clone()));
                    let restored = restore(&mut log, &job.settings);
                    heartbeat.beat();
                    let took = clock.elapsed().saturating_sub(job.submitted_at);
                    if !matches!(restored, Err(RestoreError::Held(_))) {
                        metrics.restore(took, restored.is_ok());
                    }
                    let outcome = outcome(restored);
                    if matches!(outcome, RestoreOutcome::Failed(_)) {
                        recreate(&mut log, &open);
                    }
                    heartbeat.wait_for_work();
                    let _gone = sender.send(RestoreResult {
                        restore_id: job.restore_id,
                        partition,
                        outcome,
                    });
                }
            };
            health.spawn(&format!("restore-{number}"), MAX_STEP, work)?;
        }
        Ok(Self {
            jobs,
            results,
            clock,
        })
    }

    /// Starts to restore a partition; [`RestorePool::take_result`] returns it.
    pub fn submit(&self, restore_id: RestoreId, settings: RestoreSettings) {
        let submitted_at = self.clock.elapsed();
        // The threads live as long as the pool.
        let _never_gone = self.jobs.send(RestoreJob {
            restore_id,
            settings,
            submitted_at,
        });
    }

    /// Returns the next restore that has ended.
    pub fn take_result(&self) -> Option<RestoreResult> {
        self.results.try_recv().ok()
    }
}

fn outcome(restored: Result<Restored, RestoreError>) -> RestoreOutcome {
    match restored {
        Ok(restored) => RestoreOutcome::Restored(Box::new(restored)),
        Err(RestoreError::Stopped) => RestoreOutcome::Stopped,
        Err(RestoreError::Held(hold)) => RestoreOutcome::Held(hold),
        Err(error @ RestoreError::Kafka { .. }) => RestoreOutcome::Failed(error.into()),
    }
}
