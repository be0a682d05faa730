//! Asks the brokers where partitions end, on a thread of its own.
//!
//! The moment is noted before the question. Whoever has then read up to the answer
//! has read everything that was appended before that moment.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Offset};
use tokio_util::sync::CancellationToken;

use super::errors::WithHint;
use super::list_offsets::list_offsets;
use crate::clock::Clock;
use crate::clock::Reading;

/// How often to ask. TransactionLimits how late an ending is noticed.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long to wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long brokers may fail to answer a client before another one asks: librdkafka may have
/// lost its way to a partition for good ([`renewing`](super::recreating_producer)).
const CLIENT_PATIENCE: Duration = Duration::from_secs(10);

/// The thread that asks.
#[derive(Debug)]
pub struct EndOffsetWatch {
    partitions: Arc<Mutex<Vec<i32>>>,
    answers: Receiver<EndOffsets>,
}

impl EndOffsetWatch {
    /// Starts asking for partitions of `topic`, ten times a second, until `stop`.
    ///
    /// # Errors
    /// If the client cannot be made.
    pub fn start(
        mut config: ClientConfig,
        topic: String,
        clock: Clock,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        // The high watermark, not the last stable offset: activity in an upstream
        // transaction that is still open has been appended and is not read.
        config.set("isolation.level", "read_uncommitted");
        Self::asking(&config, topic, INTERVAL, clock, stop)
    }

    /// Starts asking where what is committed ends, this often: to be shown, not to be gone
    /// by.
    ///
    /// # Errors
    /// If the client cannot be made.
    pub fn start_slowly(
        mut config: ClientConfig,
        topic: String,
        every: Duration,
        clock: Clock,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        config.set("isolation.level", "read_committed");
        Self::asking(&config, topic, every, clock, stop)
    }

    fn asking(
        config: &ClientConfig,
        topic: String,
        every: Duration,
        clock: Clock,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let client = config.create()?;
        let config = config.clone();
        let partitions = Arc::new(Mutex::new(Vec::new()));
        // One answer may wait; a loop that is behind needs no more of them.
        let (sender, answers) = sync_channel(1);
        let asked = Arc::clone(&partitions);
        thread::Builder::new()
            .name("end-offsets".to_owned())
            .spawn(move || {
                Asker {
                    config,
                    client,
                    topic,
                    every,
                    clock,
                    partitions: asked,
                    sender,
                    failing_since: None,
                }
                .run(&stop);
            })?;
        Ok(Self {
            partitions,
            answers,
        })
    }

    /// Which partitions to ask for.
    pub fn watch(&self, partitions: Vec<i32>) {
        *self
            .partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = partitions;
    }

    /// The latest answer, if there is one that has not been taken.
    pub fn answer(&self) -> Option<EndOffsets> {
        self.answers.try_recv().ok()
    }
}

struct Asker {
    config: ClientConfig,
    client: BaseConsumer,
    topic: String,
    every: Duration,
    clock: Clock,
    partitions: Arc<Mutex<Vec<i32>>>,
    sender: SyncSender<EndOffsets>,
    /// When the client there is now was first left without an answer.
    failing_since: Option<Duration>,
}

impl Asker {
    fn run(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            thread::sleep(self.every);
            let partitions = self
                .partitions
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if partitions.is_empty() {
                continue;
            }
            match self.ask(&partitions) {
                Ok(answer) => {
                    if self.failing_since.take().is_some() {
                        tracing::info!(
                            topic = self.topic,
                            "brokers tell again where partitions end"
                        );
                    }
                    let _full_or_gone = self.sender.try_send(answer);
                }
                Err(error) => self.failed(&error),
            }
        }
    }

    fn failed(&mut self, error: &KafkaError) {
        let now = self.clock.elapsed();
        let Some(since) = self.failing_since else {
            self.failing_since = Some(now);
            tracing::warn!(topic = self.topic, error = %WithHint(error), "brokers do not tell where partitions end; no tracker ends anything until they do");
            return;
        };
        if now.saturating_sub(since) < CLIENT_PATIENCE {
            return;
        }
        self.failing_since = Some(now);
        match self.config.create() {
            Ok(another) => self.client = another,
            Err(error) => tracing::error!(%error, "there is no other client"),
        }
    }

    fn ask(&self, partitions: &[i32]) -> KafkaResult<EndOffsets> {
        let asked_at = Reading {
            wall: self.clock.wall(),
            elapsed: self.clock.elapsed(),
        };
        let ends = list_offsets(&self.client, &self.topic, partitions, Offset::End, TIMEOUT)?;
        Ok(EndOffsets {
            asked_at,
            ends: ends.into_iter().collect(),
        })
    }
}

/// Where the end of a partition was, asked at a known moment.
#[derive(Clone, Debug)]
pub struct EndOffsets {
    /// Taken before the brokers were asked.
    pub asked_at: Reading,
    /// The high watermark of each partition.
    pub ends: Vec<(i32, i64)>,
}
