//! Restores partitions from Kafka, beside the thread that consumes.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::Topics;
use crate::session::checkpoint::CheckpointError;
use crate::tracker::engine::Ticket;
use crate::tracker::outbox::POSITION;
use crate::tracker::restore::{
    CheckpointRecord, Committed, RestoreLog, RestoreSettings, Restored, restore,
};

/// Partitions restored at the same time.
const WORKERS: usize = 2;
/// How long one question to the brokers may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(50);
/// How long to wait for a record before looking whether to stop.
const POLL: Duration = Duration::from_millis(100);
/// How long a restore that failed waits before it reports so, and is tried again.
const BACKOFF: Duration = Duration::from_secs(1);

/// Why a partition could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Kafka refused or did not answer. Worth trying again.
    #[error("{step}: {source}")]
    Kafka {
        /// Doing what.
        step: &'static str,
        /// Its answer.
        source: KafkaError,
    },
    /// A checkpoint record cannot be read. Trying again will not help.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The process is stopping.
    #[error("stopped")]
    Stopped,
}

/// A partition to be restored.
#[derive(Debug)]
pub struct RestoreJob {
    /// For whom.
    pub ticket: Ticket,
    /// Which, and how.
    pub settings: RestoreSettings,
}

/// How a restore went.
#[derive(Debug)]
pub struct RestoreResult {
    /// Whose it was.
    pub ticket: Ticket,
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
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let (jobs, queue) = channel::<RestoreJob>();
        let (sender, results) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..WORKERS {
            let mut log = KafkaLog::new(config, topics.clone(), stop.clone())?;
            let (queue, sender) = (Arc::clone(&queue), sender.clone());
            let work = move || {
                // The queue ends with the pool.
                while let Ok(job) = { queue.lock().unwrap_or_else(PoisonError::into_inner).recv() }
                {
                    let ticket = job.ticket;
                    let partition = job.settings.partition;
                    log.partition = partition;
                    let outcome = restore(&mut log, job.settings);
                    if matches!(outcome, Err(RestoreError::Kafka { .. })) {
                        thread::sleep(BACKOFF);
                    }
                    let _gone = sender.send(RestoreResult {
                        ticket,
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

/// Passes on what librdkafka has to say, but for the ends of partitions: those are what a
/// restore reads to.
struct EndIsNoError;

impl ClientContext for EndIsNoError {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::error!(%error, reason, "librdkafka");
        }
    }
}

impl ConsumerContext for EndIsNoError {}

/// One partition's logs in Kafka.
struct KafkaLog {
    /// Reads committed records, and speaks for the group.
    reader: BaseConsumer<EndIsNoError>,
    /// Sees the high watermark rather than the last stable offset.
    ends: BaseConsumer<EndIsNoError>,
    topics: Topics,
    partition: i32,
    stop: CancellationToken,
}

impl KafkaLog {
    fn new(config: &ClientConfig, topics: Topics, stop: CancellationToken) -> KafkaResult<Self> {
        let mut config = config.clone();
        config
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error");
        let reader = config.create_with_context(EndIsNoError)?;
        config.set("isolation.level", "read_uncommitted");
        Ok(Self {
            reader,
            ends: config.create_with_context(EndIsNoError)?,
            topics,
            partition: -1,
            stop,
        })
    }

    fn check_stop(&self) -> Result<(), RestoreError> {
        if self.stop.is_cancelled() {
            Err(RestoreError::Stopped)
        } else {
            Ok(())
        }
    }

    /// Reads `topic` from `from` to the end that its committed records have, or until
    /// `visit` says that it has seen enough.
    fn read(
        &self,
        topic: &str,
        from: i64,
        mut visit: impl FnMut(&BorrowedMessage<'_>) -> Result<bool, RestoreError>,
    ) -> Result<(), RestoreError> {
        let step = "read for the restore";
        let kafka = |source| RestoreError::Kafka { step, source };
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(topic, self.partition, Offset::Offset(from))
            .map_err(kafka)?;
        self.reader.assign(&assignment).map_err(kafka)?;
        loop {
            self.check_stop()?;
            match self.reader.poll(POLL) {
                // Of an assignment before this one: not asked for any more.
                Some(Ok(message)) if message.topic() != topic => {}
                Some(Ok(message)) if visit(&message)? => {}
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) if is_passing(&error) => tracing::debug!(%error, "restore waits"),
                Some(Err(error)) => return Err(kafka(error)),
                None => {}
            }
        }
        self.reader.unassign().map_err(kafka)
    }
}

impl RestoreLog for KafkaLog {
    type Error = RestoreError;
    type Record<'a> = BorrowedMessage<'a>;

    fn committed(&mut self) -> Result<Option<Committed>, RestoreError> {
        let step = "fetch the committed offset";
        let kafka = |source| RestoreError::Kafka { step, source };
        let mut question = TopicPartitionList::new();
        question.add_partition(&self.topics.session_logs, self.partition);
        // A read_committed consumer asks for stable offsets (KIP-447): the answer waits
        // for transactions that are pending on them.
        let answer = self
            .reader
            .committed_offsets(question, TIMEOUT)
            .map_err(kafka)?;
        let element = answer.find_partition(&self.topics.session_logs, self.partition);
        let Some(element) = element else {
            return Ok(None);
        };
        element.error().map_err(kafka)?;
        Ok(match element.offset() {
            Offset::Offset(offset) => Some(Committed {
                offset,
                metadata: element.metadata().to_owned(),
            }),
            _ => None,
        })
    }

    fn source_start(&mut self) -> Result<i64, RestoreError> {
        let ends = self
            .ends
            .fetch_watermarks(&self.topics.session_logs, self.partition, TIMEOUT);
        let (start, _) = ends.map_err(|source| RestoreError::Kafka {
            step: "ask where the source partition begins",
            source,
        })?;
        Ok(start)
    }

    fn read_checkpoint(
        &mut self,
        mut visit: impl FnMut(CheckpointRecord<'_>) -> Result<(), CheckpointError>,
    ) -> Result<(), RestoreError> {
        let topic = self.topics.checkpoint.clone();
        let ask = |client: &BaseConsumer<EndIsNoError>| {
            client
                .fetch_watermarks(&topic, self.partition, TIMEOUT)
                .map_err(|source| RestoreError::Kafka {
                    step: "ask where the checkpoint partition ends",
                    source,
                })
        };
        let (start, end) = ask(&self.ends)?;
        if start == end {
            return Ok(());
        }
        // To a reader of committed records the end is the last stable offset.
        while ask(&self.reader)?.1 < end {
            self.check_stop()?;
            thread::sleep(PAUSE);
        }
        self.read(&topic, start, |message| {
            if let Some(key) = message.key() {
                visit(CheckpointRecord {
                    key,
                    value: message.payload(),
                    position: position(message)?,
                })?;
            }
            Ok(true)
        })
    }

    fn read_source(
        &mut self,
        from: i64,
        to: i64,
        mut visit: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), RestoreError> {
        if from >= to {
            return Ok(());
        }
        let topic = self.topics.session_logs.clone();
        self.read(&topic, from, |message| {
            if message.offset() < to {
                visit(message);
            }
            Ok(message.offset() + 1 < to)
        })
    }
}

/// What the header [`POSITION`] says.
fn position(message: &BorrowedMessage<'_>) -> Result<Option<i64>, CheckpointError> {
    let mut headers = message.headers().into_iter().flat_map(Headers::iter);
    let Some(header) = headers.find(|header| header.key == POSITION) else {
        return Ok(None);
    };
    let text = header.value.and_then(|value| str::from_utf8(value).ok());
    let position = text.and_then(|text| text.parse().ok());
    match position {
        Some(position) => Ok(Some(position)),
        None => Err(CheckpointError::Damaged("a position that is not a number")),
    }
}

/// Whether librdkafka goes on by itself after this error.
fn is_passing(error: &KafkaError) -> bool {
    let code = match error {
        KafkaError::MessageConsumption(code) | KafkaError::Global(code) => code,
        _ => return false,
    };
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::NotLeaderForPartition
    )
}
