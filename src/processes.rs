//! The reports that every process writes to `sundown.processes`, every few seconds.
//!
//! The console and the controller read them. For a tracker, the timestamp that a broker puts on
//! its report is a sample of the brokers' clock.

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

use crate::clock::{BrokerSample, Clock};
use crate::kafka::errors::WithHint;
use crate::kafka::recreating_producer;
use crate::session::{Span, Timestamp};
use crate::telemetry::RecentError;

pub use identity::Identity;

/// How long the last report may delay the end of a process.
pub const LAST_REPORT_TIMEOUT: Duration = Duration::from_millis(500);
/// Interval between reports.
pub const INTERVAL: Duration = Duration::from_secs(3);
/// Time without a report after which a process no longer counts as live: three reports missed,
/// and a second for the report that is on its way.
const LIVENESS_TIMEOUT: Span = Span::from_secs(10);
/// How long delivery of a report is retried; an older one is of no use.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// The earliest credible broker timestamp, in epoch milliseconds: 2011, the year of Kafka's first
/// release. The demo's embedded broker always returns 1234, which stands for none.
const FIRST_KAFKA: i64 = 1_293_840_000_000;

/// Returns whether a running process is live at `now` if its last report has this timestamp.
/// Both are of the brokers' clock.
#[must_use]
pub fn is_live(reported_at: Timestamp, now: Timestamp) -> bool {
    now.since(reported_at) <= LIVENESS_TIMEOUT
}

/// The report of a process on itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessReport {
    /// The version of this format: 1.
    pub v: u8,
    /// Unique among all processes, past ones included.
    pub id: String,
    /// `tracker`, `handler`, `controller`, `console` or `ingest`.
    pub role: String,
    /// The release.
    pub version: String,
    /// The name of its machine or pod.
    pub host: String,
    /// Its process id on that machine.
    pub pid: u32,
    /// Its start time, RFC 3339.
    pub started_at: String,
    /// The time of this report, RFC 3339.
    pub reported_at: String,
    /// `running`; `stopped` in its last report.
    pub state: ProcessState,
    /// The conditions that keep it from being ready, each with a reason.
    pub not_ready: BTreeMap<String, String>,
    /// Its partitions.
    pub assignments: Vec<Assignment>,
    /// The progress of its actions; handlers only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionProgress>,
    /// What became of the records of each topic of a source; ingest processes only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceProgress>,
    /// Its active policies by descending priority; none until it knows them.
    #[serde(default)]
    pub policies: Vec<ActivePolicy>,
    /// The address of its admin port, as `HOST:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// Its counts since it started; trackers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
    /// The latest warnings and errors in its log, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<RecentError>,
}

/// The counts of a tracker since it started. Rates are differences between two reports of a
/// process, so a lost report loses no count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Records read from the session event topic.
    pub events: u64,
    /// Sessions started.
    pub started: u64,
    /// Events dropped because their session would already have ended.
    pub late: u64,
    /// Events that producers had written to the wrong partition, and that were forwarded.
    pub misrouted: u64,
    /// Sessions ended, by reason.
    pub endings: BTreeMap<String, u64>,
    /// Records sent to the dead-letter topic.
    pub dead_letters: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Transactions aborted.
    pub aborts: u64,
    /// Rebalances that assigned, revoked or lost partitions.
    pub rebalances: u64,
    /// The lateness of endings: per bound, the number that were no later. The last bound is
    /// finite; sessions beyond it are in no bucket.
    pub lateness: Vec<LatenessBucket>,
}

/// The number of sessions that ended no later than a bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatenessBucket {
    /// The bound, in seconds after the deadline and the allowed lateness.
    pub le: f64,
    /// The number of sessions, those of lower bounds included.
    pub count: u64,
}

/// A policy that is active on a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivePolicy {
    /// `namespace/name` in Kubernetes, the bare name elsewhere; `built-in` for the policy of
    /// sessions that match no other.
    pub name: String,
    /// Its generation; 0 for the built-in one.
    pub generation: u64,
    /// Its live sessions on the process's partitions; trackers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<usize>,
}

/// Whether another report will follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// Another report follows.
    Running,
    /// This is the last report.
    Stopped,
}

/// A partition assigned to a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub topic: String,
    pub partition: i32,
    /// Whether its state is being restored.
    pub restoring: bool,
    /// One past the last offset read.
    pub position: Option<i64>,
    /// The latest end offset.
    pub end: Option<i64>,
    /// The time up to which everything appended has been read, RFC 3339.
    pub watermark: Option<String>,
    /// Live sessions; trackers only.
    pub sessions: usize,
    /// Whether an operator has paused it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// The progress of one action of a handler on the partitions of this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionProgress {
    /// The name in the actions file.
    pub action: String,
    /// `ending` or `warning`.
    pub trigger: String,
    /// The consumer group that holds its committed offsets.
    pub group: String,
    /// The number of its partitions.
    pub partitions: usize,
    /// Offsets from the oldest event that is not finished to the end, transaction markers
    /// included.
    pub backlog: i64,
    /// Why its circuit is open; `None` while it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What became of the records of a topic that an ingest process reads. Counts are of committed
/// transactions since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceProgress {
    /// `namespace/name` of the source in Kubernetes, the bare name elsewhere.
    pub source: String,
    /// The active generation of the source; absent outside Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    pub topic: String,
    /// Records that became session events.
    pub events: u64,
    /// Records that the source does not select.
    pub skipped: u64,
    /// Records sent to the dead-letter topic.
    pub dead_letters: u64,
}

/// Writes reports.
pub struct Reporter {
    config: ClientConfig,
    topic: String,
    producer: ThreadedProducer<Acknowledgements>,
    samples: Receiver<BrokerSample>,
}

impl Reporter {
    /// Creates a reporter to `topic`.
    ///
    /// # Errors
    /// If the producer cannot be created.
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

    /// Writes a report without waiting for its acknowledgement.
    pub fn write(&mut self, report: &ProcessReport) {
        self.recreate_if_needed();
        // Strings and numbers always serialize.
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

    /// Returns the next sample of the brokers' clock.
    pub fn take_sample(&self) -> Option<BrokerSample> {
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
    /// Whether a report failed in such a way that later ones may fail as well.
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
