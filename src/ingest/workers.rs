//! One worker for each topic that a source reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::settings::{WorkerEnvironment, WorkerSettings};
use super::sources::Sources;
use super::withdrawal::Withdrawal;
use super::worker::IngestWorker;
use crate::kafka::topics::{TopicAdmin, require};
use crate::source::mapping::Mapping;
use crate::source::set::SourceSet;

/// How long a worker waits before it starts again after a failure.
const RESTART_DELAY: Duration = Duration::from_secs(2);
/// How often statements about the topics of deleted sources are looked for: the process that
/// made them may have ended before it could withdraw them.
const WITHDRAWAL_INTERVAL: Duration = Duration::from_secs(60);

/// The workers by topic.
pub struct Workers {
    environment: Arc<WorkerEnvironment>,
    running: BTreeMap<String, RunningWorker>,
}

struct RunningWorker {
    mapping: watch::Sender<Arc<Mapping>>,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Workers {
    /// Starts without workers.
    #[must_use]
    pub fn new(environment: WorkerEnvironment) -> Self {
        Self {
            environment: Arc::new(environment),
            running: BTreeMap::new(),
        }
    }

    /// Keeps one worker for each topic of `sources` until `stop`, then waits for all of them.
    ///
    /// # Errors
    /// If a worker cannot be started again.
    pub async fn run(
        mut self,
        mut sources: Sources,
        withdrawal: Option<Withdrawal>,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut withdraw = tokio::time::interval(WITHDRAWAL_INTERVAL);
        let mut result = Ok(());
        while !stop.is_cancelled() && result.is_ok() {
            let set = sources.borrow_and_update().clone();
            if self.update(&set, stop).await? {
                withdraw.reset_immediately();
            }
            tokio::select! {
                Ok(()) = sources.changed() => {}
                _ = withdraw.tick(), if withdrawal.is_some() => {
                    if let Some(withdrawal) = &withdrawal
                        && let Err(error) = withdrawal.run().await
                    {
                        tracing::warn!(error = format!("{error:#}"), "cannot look for watermarks of deleted sources; retrying");
                    }
                }
                failure = self.failure() => result = Err(failure),
                () = stop.cancelled() => {}
            }
        }
        let running = std::mem::take(&mut self.running);
        for worker in running.values() {
            worker.stop.cancel();
        }
        for (_, worker) in running {
            result = result.and(worker.task.await?);
        }
        result
    }

    /// Starts, changes and stops workers; returns whether any was stopped.
    async fn update(&mut self, set: &SourceSet, stop: &CancellationToken) -> anyhow::Result<bool> {
        let topics = set.topics();
        let kept = |topic: &String, _: &mut RunningWorker| !topics.contains_key(topic);
        let removed: Vec<_> = self.running.extract_if(.., kept).collect();
        let any_removed = !removed.is_empty();
        for (topic, worker) in removed {
            worker.stop.cancel();
            worker.task.await??;
            self.environment.health.set_ready(&condition(&topic));
            self.environment.shared.forget(&topic);
            tracing::info!(topic, "no source reads the topic any more");
        }
        for (topic, mapping) in topics {
            match self.running.get(topic) {
                Some(worker) => {
                    worker.mapping.send_if_modified(|active| {
                        let is_other = !Arc::ptr_eq(active, mapping);
                        *active = Arc::clone(mapping);
                        is_other
                    });
                }
                None => self.start(topic, mapping, stop),
            }
        }
        Ok(any_removed)
    }

    fn start(&mut self, topic: &str, mapping: &Arc<Mapping>, stop: &CancellationToken) {
        let common = Arc::clone(&self.environment);
        let (sender, mapping) = watch::channel(Arc::clone(mapping));
        let settings = WorkerSettings {
            topic: topic.to_owned(),
            condition: condition(topic),
            mapping,
            group: format!("{}.{topic}", common.group_prefix),
            common,
        };
        let stop = stop.child_token();
        let task = tokio::spawn(keep_running(settings, stop.clone()));
        let worker = RunningWorker {
            mapping: sender,
            stop,
            task,
        };
        self.running.insert(topic.to_owned(), worker);
    }

    /// Waits until a worker has ended, which it does of itself only if it cannot go on.
    async fn failure(&mut self) -> anyhow::Error {
        let ended = std::future::poll_fn(|context| {
            for worker in self.running.values_mut() {
                let task = std::pin::Pin::new(&mut worker.task);
                if let std::task::Poll::Ready(result) = task.poll(context) {
                    return std::task::Poll::Ready(result);
                }
            }
            std::task::Poll::Pending
        });
        match ended.await {
            Ok(Ok(())) => anyhow!("a worker has ended"),
            Ok(Err(error)) => error,
            Err(error) => error.into(),
        }
    }
}

/// The name of a worker in readiness and liveness.
fn condition(topic: &str) -> String {
    format!("ingest of {topic}")
}

/// Runs a worker on a thread of its own, and starts it again after it fails, until `stop`.
async fn keep_running(settings: WorkerSettings, stop: CancellationToken) -> anyhow::Result<()> {
    let admin = TopicAdmin::new(&settings.common.config)?;
    while !stop.is_cancelled() {
        let result = match require(&admin, &[&settings.topic]).await {
            Ok(_found) => run_once(&settings, &stop).await?,
            Err(error) => Err(error.into()),
        };
        let Err(error) = result else {
            return Ok(());
        };
        let reason = format!("{error:#}");
        tracing::warn!(topic = settings.topic, error = reason, "starting again");
        settings
            .common
            .health
            .set_not_ready(settings.condition.clone(), reason);
        settings.common.metrics.restarted();
        tokio::select! {
            () = tokio::time::sleep(RESTART_DELAY) => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}

/// Runs a worker until it ends; the outer error is that of its thread.
async fn run_once(
    settings: &WorkerSettings,
    stop: &CancellationToken,
) -> anyhow::Result<anyhow::Result<()>> {
    let (sender, end) = oneshot::channel();
    let (settings, stop) = (settings.clone(), stop.clone());
    // The receiver is gone if the process ends.
    let run = move || drop(sender.send(IngestWorker::start(settings, &stop)));
    let thread = thread::Builder::new().name("ingest".to_owned());
    #[expect(clippy::disallowed_methods, reason = "the worker has a heartbeat")]
    thread.spawn(run)?;
    Ok(end.await?)
}
