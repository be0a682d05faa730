//! Lists end offsets periodically on a thread.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Offset};
use tokio_util::sync::CancellationToken;

use super::end_proof::EndProof;
use super::errors::WithHint;
use super::list_offsets::list_offsets;
use super::upstream::UpstreamReader;
use crate::clock::Clock;
use crate::health::{HELPER_TIMEOUT, Health, Heartbeat};
use crate::wire::watermark::Upstream;

pub use super::proven_ends::EndOffsets;

/// Interval between requests; bounds how late the tracker detects that it has caught up.
const INTERVAL: Duration = Duration::from_millis(100);
/// Bounds one request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long requests may fail before the client is recreated: librdkafka may have lost a
/// partition for good (see [`recreating_producer`](super::recreating_producer)).
const RECREATE_TIMEOUT: Duration = Duration::from_secs(10);

/// A thread that lists end offsets.
#[derive(Debug)]
pub struct EndOffsetWatch {
    partitions: Arc<Mutex<Vec<i32>>>,
    latest: Receiver<EndOffsets>,
}

impl EndOffsetWatch {
    /// Lists the high watermarks of watched partitions of `topic`, ten times a second, until
    /// `stop` is cancelled, with what `upstream` reads before and metadata shows afterwards.
    ///
    /// # Errors
    /// If the client cannot be created or the thread cannot be started.
    pub fn start(
        config: ClientConfig,
        topic: String,
        upstream: UpstreamReader,
        clock: Clock,
        health: &Health,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        Self::start_proven(config, topic, Some(upstream), clock, health, stop)
    }

    /// Like [`start`](Self::start), for a topic without an upstream.
    ///
    /// # Errors
    /// If the client cannot be created or the thread cannot be started.
    pub fn start_without_upstream(
        config: ClientConfig,
        topic: String,
        clock: Clock,
        health: &Health,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        Self::start_proven(config, topic, None, clock, health, stop)
    }

    fn start_proven(
        mut config: ClientConfig,
        topic: String,
        upstream: Option<UpstreamReader>,
        clock: Clock,
        health: &Health,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        // Activity in an upstream transaction that is still open has been appended and counts
        // as unread: the last stable offset would hide it.
        config.set("isolation.level", "read_uncommitted");
        let proof = EndProof::of_topic(&config, upstream, clock)?;
        Self::spawn(&config, topic, Some(proof), INTERVAL, clock, health, stop)
    }

    /// Lists the last stable offsets at this interval, for display only.
    ///
    /// # Errors
    /// If the client cannot be created or the thread cannot be started.
    pub fn start_with_interval(
        mut config: ClientConfig,
        topic: String,
        interval: Duration,
        clock: Clock,
        health: &Health,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        config.set("isolation.level", "read_committed");
        Self::spawn(&config, topic, None, interval, clock, health, stop)
    }

    fn spawn(
        config: &ClientConfig,
        topic: String,
        proof: Option<EndProof>,
        interval: Duration,
        clock: Clock,
        health: &Health,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let client = config.create()?;
        let config = config.clone();
        let partitions = Arc::new(Mutex::new(Vec::new()));
        // A consumer that is behind needs no more than one response.
        let (sender, latest) = sync_channel(1);
        let watched = Arc::clone(&partitions);
        let lister = Lister {
            config,
            client,
            topic,
            interval,
            clock,
            partitions: watched,
            sender,
            proof,
            failing_since: None,
        };
        let list = move |heartbeat| lister.run(&heartbeat, &stop);
        health.spawn("end-offsets", HELPER_TIMEOUT, list)?;
        Ok(Self { partitions, latest })
    }

    /// Sets the partitions to list.
    pub fn watch(&self, partitions: Vec<i32>) {
        *self
            .partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = partitions;
    }

    /// Takes the next response, if one has arrived.
    pub fn poll(&self) -> Option<EndOffsets> {
        self.latest.try_recv().ok()
    }
}

struct Lister {
    config: ClientConfig,
    client: BaseConsumer,
    topic: String,
    interval: Duration,
    clock: Clock,
    partitions: Arc<Mutex<Vec<i32>>>,
    sender: SyncSender<EndOffsets>,
    /// `None` where the ends are for display only.
    proof: Option<EndProof>,
    /// When requests of the current client began to fail.
    failing_since: Option<Duration>,
}

impl Lister {
    fn run(mut self, heartbeat: &Heartbeat, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            heartbeat.beat();
            thread::sleep(self.interval);
            let partitions = self
                .partitions
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if partitions.is_empty() {
                continue;
            }
            match self.list(&partitions) {
                Ok(ends) => {
                    if self.failing_since.take().is_some() {
                        tracing::info!(topic = self.topic, "end offsets can be listed again");
                    }
                    let _full_or_gone = self.sender.try_send(ends);
                }
                Err(error) => self.on_failure(&error),
            }
        }
    }

    fn on_failure(&mut self, error: &KafkaError) {
        let now = self.clock.elapsed();
        let Some(since) = self.failing_since else {
            self.failing_since = Some(now);
            tracing::warn!(topic = self.topic, error = %WithHint(error), "cannot list end offsets; no session ends until that succeeds");
            return;
        };
        if now.saturating_sub(since) < RECREATE_TIMEOUT {
            return;
        }
        self.failing_since = Some(now);
        match self.config.create() {
            Ok(client) => self.client = client,
            Err(error) => tracing::error!(%error, "cannot recreate the client"),
        }
        if let Some(proof) = &mut self.proof
            && let Err(error) = proof.recreate(&self.config)
        {
            tracing::error!(%error, "cannot recreate the reader of watermarks");
        }
    }

    fn list(&mut self, partitions: &[i32]) -> KafkaResult<EndOffsets> {
        let Some(proof) = &mut self.proof else {
            let requested_at = self.clock.reading();
            let end = Offset::End;
            let ends = list_offsets(&self.client, &self.topic, partitions, end, REQUEST_TIMEOUT)?;
            return Ok(EndOffsets {
                requested_at,
                ends: ends.into_iter().collect(),
                partition_count: None,
                topic_id: None,
                upstream: Upstream::default(),
            });
        };
        proof.list((&self.client, REQUEST_TIMEOUT), &self.topic, partitions)
    }
}
