//! One worker for each topic that a source reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::discovery::{self, Discovery};
use super::settings::{WorkerEnvironment, WorkerSettings};
use super::sources::Sources;
use super::withdrawal::Withdrawal;
use super::worker::IngestWorker;
use crate::kafka::topics::{TopicAdmin, TopicState, require};
use crate::source::mapping::Mapping;

/// How long a worker waits before it starts again after a failure.
const RESTART_DELAY: Duration = Duration::from_secs(2);
/// How often statements to withdraw are looked for: the process that made them may have ended
/// before it could withdraw them, and topics are created again.
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
        mut discovery: Discovery,
        mut withdrawal: Withdrawal,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut withdraw = tokio::time::interval(WITHDRAWAL_INTERVAL);
        let mut list = tokio::time::interval(discovery::INTERVAL);
        let mut result = Ok(());
        while !stop.is_cancelled() && result.is_ok() {
            let set = sources.borrow_and_update().clone();
            let topics = discovery.topics(&set).await;
            if self.update(&topics, stop).await? {
                withdraw.reset_immediately();
            }
            tokio::select! {
                Ok(()) = sources.changed() => {}
                _ = withdraw.tick() => {
                    if let Err(error) = withdrawal.run().await {
                        tracing::warn!(error = format!("{error:#}"), "cannot look for watermarks to withdraw; retrying");
                    }
                }
                _ = list.tick(), if !set.patterns().is_empty() => {}
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
    async fn update(
        &mut self,
        topics: &BTreeMap<String, Arc<Mapping>>,
        stop: &CancellationToken,
    ) -> anyhow::Result<bool> {
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
            stated: 0,
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
        let result = match hold(&settings, &admin).await {
            Ok(stated) => {
                let settings = WorkerSettings {
                    stated,
                    ..settings.clone()
                };
                run_once(&settings, &stop).await?
            }
            Err(error) => Err(error),
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

/// Before anything of a topic is read, no partition of it may lack a statement: what the members
/// that come first state would let sessions end whose activity is on the others' partitions.
/// Returns the number of partitions.
async fn hold(settings: &WorkerSettings, admin: &TopicAdmin) -> anyhow::Result<i32> {
    let topic = &settings.topic;
    let found = require(admin, &[topic]).await?;
    let count = found.get(topic).map_or(0, TopicState::partition_count);
    let partitions: Vec<_> = (0..count)
        .map(|partition| (topic.clone(), partition))
        .collect();
    settings.common.statements.hold(partitions).await?;
    Ok(count)
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
