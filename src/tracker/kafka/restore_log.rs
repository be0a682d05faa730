//! One partition's logs in Kafka, as a restore reads them.

use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Reading};
use crate::kafka::Topics;
use crate::kafka::errors::WithHint;
use crate::kafka::list_offsets::watermarks;
use crate::session::checkpoint::CheckpointError;
use crate::tracker::outbox::POSITION;
use crate::tracker::restore::{CheckpointRecord, Committed, RestoreLog};

/// How long one question to the brokers may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(50);
/// How long to wait for a record before looking whether to stop.
const POLL: Duration = Duration::from_millis(100);
/// How long a partition may have nothing to say, not even that it has ended, before it
/// counts as out of reach.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a broker that has no record may keep its answer, in milliseconds.
const FETCH_WAIT_MS: &str = "10";

/// One partition's logs in Kafka.
pub(crate) struct KafkaLog {
    /// Reads committed records, and speaks for the group.
    reader: BaseConsumer<ReaderContext>,
    /// Sees the high watermark rather than the last stable offset.
    ends: BaseConsumer<ReaderContext>,
    topics: Topics,
    pub(crate) partition: i32,
    clock: Clock,
    stop: CancellationToken,
}

impl KafkaLog {
    pub(crate) fn new(
        config: &ClientConfig,
        topics: Topics,
        clock: Clock,
        stop: CancellationToken,
    ) -> KafkaResult<Self> {
        let mut config = config.clone();
        config
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "error")
            // The end of a partition is told by an empty answer, which a broker keeps for so
            // long: half a second by default, for each partition.
            .set("fetch.wait.max.ms", FETCH_WAIT_MS);
        let reader = config.create_with_context(ReaderContext)?;
        config.set("isolation.level", "read_uncommitted");
        Ok(Self {
            reader,
            ends: config.create_with_context(ReaderContext)?,
            topics,
            partition: -1,
            clock,
            stop,
        })
    }

    /// Where the source partition begins and ends.
    fn source_range(&self) -> Result<(i64, i64), RestoreError> {
        let step = "ask where the partition begins and ends";
        self.range(&self.ends, &self.topics.session_logs, step)
    }

    /// Where the checkpoint partition begins and, to `client`, ends.
    fn checkpoint_range(
        &self,
        client: &BaseConsumer<ReaderContext>,
    ) -> Result<(i64, i64), RestoreError> {
        let step = "ask for the end of the partition";
        self.range(client, &self.topics.checkpoint, step)
    }

    fn range(
        &self,
        client: &BaseConsumer<ReaderContext>,
        topic: &str,
        step: &'static str,
    ) -> Result<(i64, i64), RestoreError> {
        let range = watermarks(client.client(), topic, self.partition, TIMEOUT);
        range.map_err(|source| RestoreError::Kafka {
            topic: topic.to_owned(),
            step,
            source,
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
        let kafka = |source| RestoreError::Kafka {
            topic: topic.to_owned(),
            step: "restore from the records",
            source,
        };
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(topic, self.partition, Offset::Offset(from))
            .map_err(kafka)?;
        self.reader.assign(&assignment).map_err(kafka)?;
        let mut silent_since = self.clock.elapsed();
        loop {
            self.check_stop()?;
            let polled = self.reader.poll(POLL);
            let now = self.clock.elapsed();
            if matches!(polled, Some(Ok(_))) {
                silent_since = now;
            } else if now.saturating_sub(silent_since) > SILENCE {
                let timed_out = RDKafkaErrorCode::OperationTimedOut;
                return Err(kafka(KafkaError::MessageConsumption(timed_out)));
            }
            match polled {
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

    fn reading(&self) -> Reading {
        Reading {
            wall: self.clock.wall(),
            elapsed: self.clock.elapsed(),
        }
    }

    fn committed(&mut self) -> Result<Option<Committed>, RestoreError> {
        let topic = self.topics.session_logs.clone();
        let kafka = |source| RestoreError::Kafka {
            topic: topic.clone(),
            step: "fetch the committed offset",
            source,
        };
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
        let Offset::Offset(committed) = element.offset() else {
            return Ok(None);
        };
        let (_, end) = self.source_range()?;
        if committed > end {
            return Err(RestoreError::Truncated { committed, end });
        }
        Ok(Some(Committed {
            offset: committed,
            metadata: element.metadata().to_owned(),
        }))
    }

    fn source_start(&mut self) -> Result<i64, RestoreError> {
        Ok(self.source_range()?.0)
    }

    fn checkpoint_end(&mut self) -> Result<i64, RestoreError> {
        Ok(self.checkpoint_range(&self.ends)?.1)
    }

    fn checkpoint_stable_end(&mut self) -> Result<i64, RestoreError> {
        // To a reader of committed records the end is the last stable offset.
        Ok(self.checkpoint_range(&self.reader)?.1)
    }

    fn pause(&mut self) -> Result<(), RestoreError> {
        self.check_stop()?;
        thread::sleep(PAUSE);
        Ok(())
    }

    fn read_checkpoint(
        &mut self,
        mut visit: impl FnMut(CheckpointRecord<'_>) -> Result<(), CheckpointError>,
    ) -> Result<(), RestoreError> {
        let (start, end) = self.checkpoint_range(&self.reader)?;
        if start == end {
            return Ok(());
        }
        let topic = self.topics.checkpoint.clone();
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

/// Logs errors, the ends of partitions not being any.
struct ReaderContext;

impl ClientContext for ReaderContext {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::error!(%error, reason, "reading for a restore");
        }
    }
}

impl ConsumerContext for ReaderContext {}

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

/// Why a partition could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Kafka refused or did not answer. Worth trying again.
    #[error("{step} of {topic}: {}", WithHint(source))]
    Kafka {
        /// With which topic.
        topic: String,
        /// Doing what.
        step: &'static str,
        /// Its answer.
        source: KafkaError,
    },
    /// The partition is shorter than it was. Until somebody decides what is to become of
    /// the sessions, none of them ends.
    #[error(
        "the group has committed offset {committed}, but the partition ends at {end}: if the topic was made anew, start from nothing with: sundown topics reset"
    )]
    Truncated {
        /// What the group has committed.
        committed: i64,
        /// Where the partition ends.
        end: i64,
    },
    /// A checkpoint record cannot be read. Trying again will not help.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The process is stopping.
    #[error("stopped")]
    Stopped,
}
