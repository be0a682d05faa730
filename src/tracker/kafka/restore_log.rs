//! A restore's view of one partition's topics in Kafka.

use std::thread;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Reading};
use crate::kafka::Topics;
use crate::kafka::errors::WithHint;
use crate::kafka::headers;
use crate::kafka::topic_reader::{CommittedOffset, Polled, ReaderOptions, TopicReader};
use crate::kafka::topics::OffsetRange;
use crate::session::checkpoint::CheckpointError;
use crate::tracker::outbox::POSITION;
use crate::tracker::restore::{CheckpointRecord, RestoreLog};

/// Bounds one request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval at which the last stable offset is listed until it reaches the high watermark.
const STABLE_END_INTERVAL: Duration = Duration::from_millis(50);
/// Interval at which a wait for records checks for cancellation.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Bounds the time without a record or the end of the partition.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bounds a broker's wait for records before it returns an empty response, in milliseconds.
/// Only an empty response shows the end of a partition; the default is half a second.
const FETCH_WAIT_MAX_MS: &str = "10";

/// A restore's view of one partition's topics in Kafka.
pub(crate) struct KafkaLog {
    /// Reads committed records and the group's committed offsets.
    reader: TopicReader,
    /// Lists high watermarks, which may be above the last stable offsets.
    uncommitted: TopicReader,
    topics: Topics,
    pub(crate) partition: i32,
    clock: Clock,
    stop: CancellationToken,
}

impl KafkaLog {
    /// `config` has the `group.id` of the tracker's group.
    pub(crate) fn new(
        config: &ClientConfig,
        topics: Topics,
        clock: Clock,
        stop: CancellationToken,
    ) -> KafkaResult<Self> {
        let options = ReaderOptions {
            name: "sundown-restore",
            request_timeout: REQUEST_TIMEOUT,
            properties: &[
                ("auto.offset.reset", "error"),
                ("fetch.wait.max.ms", FETCH_WAIT_MAX_MS),
            ],
        };
        Ok(Self {
            reader: TopicReader::new(config, &options)?,
            uncommitted: TopicReader::read_uncommitted(config, &options)?,
            topics,
            partition: -1,
            clock,
            stop,
        })
    }

    fn source_offsets(&self) -> Result<OffsetRange, RestoreError> {
        self.offsets(&self.uncommitted, &self.topics.session_logs)
    }

    /// The checkpoint partition's offsets at the isolation level of `reader`.
    fn checkpoint_offsets(&self, reader: &TopicReader) -> Result<OffsetRange, RestoreError> {
        self.offsets(reader, &self.topics.checkpoint)
    }

    fn offsets(&self, reader: &TopicReader, topic: &str) -> Result<OffsetRange, RestoreError> {
        let offsets = reader.partition_offsets(topic, self.partition);
        offsets.map_err(|source| RestoreError::Kafka {
            topic: topic.to_owned(),
            step: "list offsets",
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

    /// Reads `topic` from the offset `from` until its last stable offset, or until `visit`
    /// returns that it needs no more records.
    fn read(
        &self,
        topic: &str,
        from: i64,
        mut visit: impl FnMut(&BorrowedMessage<'_>) -> Result<bool, RestoreError>,
    ) -> Result<(), RestoreError> {
        let kafka = |source| RestoreError::Kafka {
            topic: topic.to_owned(),
            step: "read the records",
            source,
        };
        let position = (topic, self.partition, Offset::Offset(from));
        self.reader.assign([position]).map_err(kafka)?;
        let mut idle_since = self.clock.elapsed();
        loop {
            self.check_stop()?;
            let polled = self.reader.poll(POLL_INTERVAL);
            let now = self.clock.elapsed();
            if matches!(polled, Ok(Some(Polled::Record(_)))) {
                idle_since = now;
            } else if now.saturating_sub(idle_since) > IDLE_TIMEOUT {
                let timed_out = RDKafkaErrorCode::OperationTimedOut;
                return Err(kafka(KafkaError::MessageConsumption(timed_out)));
            }
            match polled {
                // Fetched for the previous assignment.
                Ok(Some(Polled::Record(message))) if message.topic() != topic => {}
                Ok(Some(Polled::Record(message))) if visit(&message)? => {}
                Ok(Some(Polled::Record(_) | Polled::EndOfPartition(_))) => break,
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(kafka(error)),
                Ok(None) => {}
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

    fn committed(&mut self) -> Result<Option<CommittedOffset>, RestoreError> {
        let topic = &self.topics.session_logs;
        let committed = self.reader.committed_offset(topic, self.partition);
        let committed = committed.map_err(|source| RestoreError::Kafka {
            topic: topic.clone(),
            step: "fetch the committed offset",
            source,
        })?;
        let Some(committed) = committed else {
            return Ok(None);
        };
        let end = self.source_offsets()?.end;
        if committed.offset > end {
            return Err(RestoreError::Truncated {
                committed: committed.offset,
                end,
            });
        }
        Ok(Some(committed))
    }

    fn source_start(&mut self) -> Result<i64, RestoreError> {
        Ok(self.source_offsets()?.first)
    }

    fn checkpoint_end(&mut self) -> Result<i64, RestoreError> {
        Ok(self.checkpoint_offsets(&self.uncommitted)?.end)
    }

    fn checkpoint_stable_end(&mut self) -> Result<i64, RestoreError> {
        // The end offset of a reader of committed records is the last stable offset.
        Ok(self.checkpoint_offsets(&self.reader)?.end)
    }

    fn pause(&mut self) -> Result<(), RestoreError> {
        self.check_stop()?;
        thread::sleep(STABLE_END_INTERVAL);
        Ok(())
    }

    fn read_checkpoint(
        &mut self,
        mut visit: impl FnMut(CheckpointRecord<'_>) -> Result<(), CheckpointError>,
    ) -> Result<(), RestoreError> {
        let OffsetRange { first, end } = self.checkpoint_offsets(&self.reader)?;
        if first == end {
            return Ok(());
        }
        self.read(&self.topics.checkpoint, first, |message| {
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
        self.read(&self.topics.session_logs, from, |message| {
            if message.offset() < to {
                visit(message);
            }
            Ok(message.offset() + 1 < to)
        })
    }
}

/// The value of the header [`POSITION`].
fn position(message: &BorrowedMessage<'_>) -> Result<Option<i64>, CheckpointError> {
    let Some(value) = headers::find(message.headers(), POSITION) else {
        return Ok(None);
    };
    let text = str::from_utf8(value).ok();
    let position = text.and_then(|text| text.parse().ok());
    match position {
        Some(position) => Ok(Some(position)),
        None => Err(CheckpointError::Damaged("a position that is not a number")),
    }
}

/// Whether librdkafka recovers from this error.
fn is_transient(error: &KafkaError) -> bool {
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
    /// Kafka returned an error or did not respond; worth retrying.
    #[error("cannot {step} of {topic}: {}", WithHint(source))]
    Kafka {
        topic: String,
        step: &'static str,
        source: KafkaError,
    },
    /// The partition is shorter than its committed offset. None of its sessions ends until an
    /// operator decides.
    #[error(
        "the group has committed offset {committed}, but the partition ends at {end}: if the topic was deleted and created again, start from an empty state with: sundown topics reset"
    )]
    Truncated {
        committed: i64,
        /// The partition's high watermark.
        end: i64,
    },
    /// A checkpoint record cannot be decoded; retrying does not help.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("stopped")]
    Stopped,
}
