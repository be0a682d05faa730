//! What every process writes to `sundown.processes`, every few seconds.
//!
//! The console and the controller read it. The tracker gets something back: the
//! timestamp that a broker puts on a report is a sample of the brokers' clock.

mod identity;
pub mod reports;
pub mod trackers;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use serde::{Deserialize, Serialize};

use crate::clock::BrokerSample;
use crate::clock::Clock;
use crate::kafka::errors::WithHint;
use crate::kafka::recreating_producer;
use crate::session::{Span, Timestamp};
use crate::telemetry::RecentError;

pub use identity::Identity;

/// How long the last report may hold up the end of a process.
pub const LAST_REPORT_PATIENCE: Duration = Duration::from_millis(500);
/// How often a process reports.
pub const INTERVAL: Duration = Duration::from_secs(3);
/// Time without a report after which a process no longer counts as live: three reports missed,
/// and a second for the report that is on its way.
const LIVENESS_TIMEOUT: Span = Span::from_secs(10);
/// How long delivery of a report is retried; an older one is of no use.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// No broker has put an earlier time on a record: 2011, the year of the first release. The
/// embedded broker of the demo always answers 1234, and means none.
const FIRST_KAFKA: i64 = 1_293_840_000_000;

/// Returns whether a running process is live at `now` if its last report has this timestamp.
/// Both are of the brokers' clock.
#[must_use]
pub fn is_live(reported_at: Timestamp, now: Timestamp) -> bool {
    now.since(reported_at) <= LIVENESS_TIMEOUT
}

/// A process, as it sees itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessReport {
    /// The version of this format: 1.
    pub v: u8,
    /// Unique among all processes, past ones included.
    pub id: String,
    /// `tracker`, `handler`, `controller` or `console`.
    pub role: String,
    /// The release.
    pub version: String,
    /// Where it runs.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// When it wrote this, RFC 3339.
    pub reported_at: String,
    /// `running`, or `stopped` in its last report.
    pub state: ProcessState,
    /// What it still waits for, by name, each with a reason.
    pub not_ready: BTreeMap<String, String>,
    /// The partitions that it has.
    pub assignments: Vec<Assignment>,
    /// The policies that it goes by, the most important first; none before it knows them.
    #[serde(default)]
    pub policies: Vec<ActivePolicy>,
    /// Where its admin port is, as `HOST:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// What it has counted since it started; trackers alone count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
    /// The latest warnings and errors of its log, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<RecentError>,
}

/// What a tracker has counted since it started: rates are the differences between two
/// reports of one process, so a report that is lost costs no count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Records read from the session event topic.
    pub events: u64,
    /// Sessions started.
    pub started: u64,
    /// Events dropped because their session would have been over already.
    pub late: u64,
    /// Events without a key, or whose key belongs on another partition.
    pub misrouted: u64,
    /// Sessions ended, by reason.
    pub endings: BTreeMap<String, u64>,
    /// Records sent to the dead-letter topic.
    pub dead_letters: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Transactions that came to nothing.
    pub aborts: u64,
    /// Rebalances that gave, took or lost partitions.
    pub rebalances: u64,
    /// How late sessions ended: per bound, how many were no later. The last bound is
    /// below infinity; the sessions beyond it are in no bucket.
    pub lateness: Vec<LatenessBucket>,
}

/// How many sessions ended no later than a bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatenessBucket {
    /// The bound, in seconds after the deadline and the allowed lateness.
    pub le: f64,
    /// How many, those of lower bounds included.
    pub count: u64,
}

/// A policy that a process goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivePolicy {
    /// `namespace/name` in Kubernetes, the bare name elsewhere; `built-in` for the rules
    /// of sessions that no policy matches.
    pub name: String,
    /// Which state of it; 0 for the built-in one.
    pub generation: u64,
    /// How many sessions live under it on the process's partitions; trackers alone know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<usize>,
}

/// Whether there will be another report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// There will.
    Running,
    /// There will not.
    Stopped,
}

/// A partition that a process has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Whether its state is still being read.
    pub restoring: bool,
    /// One past the last offset read.
    pub position: Option<i64>,
    /// Where the partition ended when last asked.
    pub end: Option<i64>,
    /// The time up to which everything appended has been read, RFC 3339.
    pub watermark: Option<String>,
    /// Live sessions; trackers alone have some.
    pub sessions: usize,
    /// Whether somebody has paused it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// Writes reports.
pub struct Reporter {
    config: ClientConfig,
    topic: String,
    producer: ThreadedProducer<Acknowledgements>,
    samples: Receiver<BrokerSample>,
}

impl Reporter {
    /// A reporter to `topic`.
    ///
    /// # Errors
    /// If the producer cannot be made.
    pub fn new(mut config: ClientConfig, topic: &str, clock: Clock) -> anyhow::Result<Self> {
        config
            .set("linger.ms", "0")
            .set(
                "message.timeout.ms",
                DELIVERY_TIMEOUT.as_millis().to_string(),
            )
            .set("queue.buffering.max.messages", "100");
        let (sender, samples) = channel();
        let producer = config.create_with_context(Acknowledgements {
            clock,
            samples: sender,
            must_recreate: AtomicBool::new(false),
        })?;
        Ok(Self {
            config,
            topic: topic.to_owned(),
            producer,
            samples,
        })
    }

    /// Writes a report; does not wait for it to be acknowledged.
    pub fn write(&mut self, report: &ProcessReport) {
        self.recreate_if_needed();
        // Texts and numbers always serialise.
        let value = serde_json::to_string(report).unwrap_or_default();
        let sent = Box::new(self.producer.context().clock.elapsed());
        let record = BaseRecord::with_opaque_to(&self.topic, sent)
            .key(&report.id)
            .payload(&value);
        if let Err((error, _)) = self.producer.send(record) {
            tracing::warn!(%error, topic = self.topic, "cannot write the process report");
        }
    }

    fn recreate_if_needed(&mut self) {
        let context = self.producer.context();
        if !context.must_recreate.load(Ordering::Relaxed) {
            return;
        }
        let context = Acknowledgements {
            clock: context.clock,
            samples: context.samples.clone(),
            must_recreate: AtomicBool::new(false),
        };
        let config = &self.config;
        recreating_producer::recreate(&mut self.producer, || config.create_with_context(context));
    }

    /// Waits until all reports are acknowledged, or `timeout` has passed.
    pub fn flush(&self, timeout: Duration) {
        if let Err(error) = self.producer.flush(timeout) {
            tracing::debug!(%error, "the last process report may be lost");
        }
    }

    /// A sample of the brokers' clock that has not been taken yet.
    pub fn sample(&self) -> Option<BrokerSample> {
        self.samples.try_recv().ok()
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

struct Acknowledgements {
    clock: Clock,
    samples: Sender<BrokerSample>,
    /// Whether a report was not acknowledged in such a way that none may ever be.
    must_recreate: AtomicBool,
}

impl ClientContext for Acknowledgements {}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = Box<Duration>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Duration>) {
        let acknowledged = self.clock.elapsed();
        match result {
            Ok(message) => {
                let append_time = match message.timestamp() {
                    rdkafka::Timestamp::LogAppendTime(millis) if millis >= FIRST_KAFKA => {
                        Some(Timestamp::from_millis(millis))
                    }
                    _ => None,
                };
                let _gone = self.samples.send(BrokerSample {
                    append_time,
                    sent: *sent,
                    acknowledged,
                });
            }
            Err((error, report)) => {
                let must_recreate = recreating_producer::must_recreate(error);
                self.must_recreate
                    .fetch_or(must_recreate, Ordering::Relaxed);
                let topic = report.topic();
                tracing::warn!(topic, error = %WithHint(error), "a process report was not acknowledged");
            }
        }
    }
}
