//! Lists end offsets periodically on a thread.
//!
//! The time is taken before each request. A consumer that has read up to the listed end has
//! read everything that was appended before that time, provided that the broker that answered
//! still led the partition: one that was deposed and does not know it answers with an old end.
//! Metadata that another broker returns *afterwards* shows that.
//!
//! What other processes have forwarded to the topic is read *before* the ends are listed: what a
//! process had written when it stated its watermark then lies before the listed end.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Offset};
use tokio_util::sync::CancellationToken;

use super::errors::WithHint;
use super::leaders::{self, Leaders};
use super::list_offsets::{list_led_ends, list_offsets};
use super::upstream::UpstreamReader;
use crate::clock::Clock;
use crate::clock::Reading;
use crate::wire::watermark::Upstream;

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
        mut config: ClientConfig,
        topic: String,
        upstream: UpstreamReader,
        clock: Clock,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        // Activity in an upstream transaction that is still open has been appended and counts
        // as unread: the last stable offset would hide it.
        config.set("isolation.level", "read_uncommitted");
        Self::spawn(&config, topic, Some(upstream), INTERVAL, clock, stop)
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
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        config.set("isolation.level", "read_committed");
        Self::spawn(&config, topic, None, interval, clock, stop)
    }

    fn spawn(
        config: &ClientConfig,
        topic: String,
        upstream: Option<UpstreamReader>,
        interval: Duration,
        clock: Clock,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let client = config.create()?;
        let config = config.clone();
        let partitions = Arc::new(Mutex::new(Vec::new()));
        // A consumer that is behind needs no more than one response.
        let (sender, latest) = sync_channel(1);
        let watched = Arc::clone(&partitions);
        thread::Builder::new()
            .name("end-offsets".to_owned())
            .spawn(move || {
                Lister {
                    config,
                    client,
                    topic,
                    interval,
                    clock,
                    partitions: watched,
                    sender,
                    upstream,
                    leaders: Leaders::default(),
                    failing_since: None,
                }
                .run(&stop);
            })?;
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
    upstream: Option<UpstreamReader>,
    /// The leaders after the last request.
    leaders: Leaders,
    /// When requests of the current client began to fail.
    failing_since: Option<Duration>,
}

impl Lister {
    fn run(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
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
        if let Some(upstream) = &mut self.upstream
            && let Err(error) = upstream.recreate()
        {
            tracing::error!(%error, "cannot recreate the reader of watermarks");
        }
    }

    fn list(&mut self, partitions: &[i32]) -> KafkaResult<EndOffsets> {
        let upstream = match &mut self.upstream {
            Some(upstream) => Some(upstream.read_to_end()?),
            None => None,
        };
        let requested_at = Reading {
            wall: self.clock.wall(),
            elapsed: self.clock.elapsed(),
        };
        let Some(upstream) = upstream else {
            let end = Offset::End;
            let ends = list_offsets(&self.client, &self.topic, partitions, end, REQUEST_TIMEOUT)?;
            return Ok(EndOffsets {
                requested_at,
                ends: ends.into_iter().collect(),
                partition_count: None,
                upstream: Upstream::default(),
            });
        };
        let before = std::mem::take(&mut self.leaders);
        let led: Vec<i32> = partitions
            .iter()
            .copied()
            .filter(|one| before.has(*one))
            .collect();
        let ends = if led.is_empty() {
            // Before the first metadata, and while no partition has a leader.
            std::collections::BTreeMap::new()
        } else {
            list_led_ends(&self.client, &self.topic, &led, REQUEST_TIMEOUT)?
        };
        self.leaders = leaders::fetch(&self.client, &self.topic, partitions, REQUEST_TIMEOUT)?;
        let is_proven = |&(partition, _): &(i32, i64)| self.leaders.confirms(&before, partition);
        Ok(EndOffsets {
            requested_at,
            ends: ends.into_iter().filter(is_proven).collect(),
            partition_count: Some(self.leaders.partition_count()),
            upstream,
        })
    }
}

/// The end offsets of partitions at a known time.
#[derive(Clone, Debug)]
pub struct EndOffsets {
    /// Taken before the request was sent.
    pub requested_at: Reading,
    /// The end offset of each partition whose leader is still the one that answered.
    pub ends: Vec<(i32, i64)>,
    /// The number of partitions of the topic, asked for afterwards; `None` where it does not
    /// matter.
    pub partition_count: Option<i32>,
    /// What others had forwarded before the request was sent.
    pub upstream: Upstream,
}
