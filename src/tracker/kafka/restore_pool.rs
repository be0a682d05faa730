//! Restores partitions from Kafka, beside the thread that consumes.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::restore_log::KafkaLog;
use super::restore_log::RestoreError;
use crate::clock::Clock;
use crate::kafka::Topics;
use crate::tracker::engine::RestoreId;
use crate::tracker::restore::{RestoreSettings, Restored, restore};

/// Partitions restored at the same time.
const WORKERS: usize = 2;
/// How long a restore that failed waits before it reports so, and is tried again.
const BACKOFF: Duration = Duration::from_secs(1);

/// A partition to be restored.
#[derive(Debug)]
pub struct RestoreJob {
    /// For whom.
    pub restore_id: RestoreId,
    /// Which, and how.
    pub settings: RestoreSettings,
}

/// How a restore went.
#[derive(Debug)]
pub struct RestoreResult {
    /// Whose it was.
    pub restore_id: RestoreId,
    /// Which partition.
    pub partition: i32,
    /// The partition, or why not.
    pub outcome: Result<Restored, RestoreError>,
}

/// Threads that restore partitions.
#[derive(Debug)]
pub struct RestorePool {
    jobs: Sender<RestoreJob>,
    results: Receiver<RestoreResult>,
}

impl RestorePool {
    /// Starts the threads. `config` is that of the group's members: the committed
    /// offsets are the group's. They end after `stop`.
    ///
    /// # Errors
    /// If a client cannot be made or a thread not be started.
    pub fn start(
        config: &ClientConfig,
        topics: &Topics,
        clock: Clock,
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
            let work = move || {
                // The queue ends with the pool.
                while let Ok(job) = { queue.lock().unwrap_or_else(PoisonError::into_inner).recv() }
                {
                    let restore_id = job.restore_id;
                    let partition = job.settings.partition;
                    log.partition = partition;
                    let outcome = restore(&mut log, job.settings);
                    if matches!(
                        outcome,
                        Err(RestoreError::Kafka { .. } | RestoreError::Truncated { .. })
                    ) {
                        thread::sleep(BACKOFF);
                        // librdkafka may have lost its way to a partition for good
                        // (`kafka::renewing`).
                        match open() {
                            Ok(another) => log = another,
                            Err(error) => tracing::error!(%error, "there is no other client"),
                        }
                    }
                    let _gone = sender.send(RestoreResult {
                        restore_id,
                        partition,
                        outcome,
                    });
                }
            };
            thread::Builder::new()
                .name(format!("restore-{number}"))
                .spawn(work)?;
        }
        Ok(Self { jobs, results })
    }

    /// Has a partition restored; [`RestorePool::result`] gives it when it is done.
    pub fn submit(&self, job: RestoreJob) {
        // The workers live as long as the pool.
        let _never_gone = self.jobs.send(job);
    }

    /// A restore that is done, if there is one.
    pub fn result(&self) -> Option<RestoreResult> {
        self.results.try_recv().ok()
    }
}
