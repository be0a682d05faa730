//! A restore's view of one partition's topics in Kafka.

use std::thread;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Reading};
use crate::health::Heartbeat;
use crate::kafka::Topics;
use crate::kafka::end_proof::EndProof;
use crate::kafka::errors::WithHint;
use crate::kafka::headers;
use crate::kafka::topic_ids::TopicIds;
use crate::kafka::topic_reader::{CommittedOffset, Polled, ReaderOptions, TopicReader};
use crate::kafka::topics::OffsetRange;
use crate::tracker::offset_metadata::LogIdentity;
use crate::tracker::outbox::POSITION;
use crate::tracker::restore::{ReadProgress, RestoreLog, RestoreTopic};
use crate::tracker::state_hold::StateHold;

/// Bounds one request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval at which the last stable offset is listed until it reaches the high watermark.
const STABLE_END_INTERVAL: Duration = Duration::from_millis(50);
/// Interval at which a wait for records checks for cancellation.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Interval at which brokers are asked until one confirms who leads the checkpoint partition.
const PROOF_INTERVAL: Duration = Duration::from_millis(100);
/// Bounds the time without proof of that leader. Other partitions may be restored meanwhile, and the next
/// attempt is that of a new client, which may reach another broker.
const PROOF_TIMEOUT: Duration = Duration::from_secs(5);
/// Bounds the time without a record or the end of the partition.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Records after which clock and cancellation are checked again: both take as long as a record.
const RECORDS_PER_CHECK: u32 = 256;
/// How long topic ids and leaders are used again: for the other partitions of an assignment.
const LOOKUP_LIFETIME: Duration = Duration::from_secs(1);
/// Bounds a broker's wait for records before it returns an empty response, in milliseconds.
/// Only an empty response shows the end of a partition; the default is half a second.
const FETCH_WAIT_MAX_MS: &str = "10";

/// A restore's view of one partition's topics in Kafka.
pub(crate) struct KafkaLog {
    /// Reads committed records and the group's committed offsets.
    reader: TopicReader,
    /// Lists high watermarks, which may be above the last stable offsets.
    uncommitted: TopicReader,
    /// Proves the high watermarks of the checkpoint topic.
    proof: EndProof,
    /// When the last of them was listed.
    proven_at: Duration,
    topic_ids: TopicIds,
    /// The topics, and when they were looked up.
    identity: Option<(LogIdentity, Duration)>,
    topics: Topics,
    partition: i32,
    /// The topic that is read, and since when it has returned no record.
    current: RestoreTopic,
    idle_since: Duration,
    /// Whether it has returned one since the last poll without.
    has_read: bool,
    /// How many records are read before the next check.
    unchecked: u32,
    /// Of the thread that restores.
    heartbeat: Option<Heartbeat>,
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
            proof: EndProof::of_leaders(config, clock),
            proven_at: Duration::ZERO,
            topic_ids: TopicIds::new(config)?,
            identity: None,
            topics,
            partition: -1,
            current: RestoreTopic::Source,
            idle_since: Duration::ZERO,
            has_read: false,
            unchecked: 0,
            heartbeat: None,
            clock,
            stop,
        })
    }

    /// Prepares for the restore of a partition, which beats `heartbeat` as it progresses.
    pub(crate) fn begin(&mut self, partition: i32, heartbeat: Option<Heartbeat>) {
        self.partition = partition;
        self.heartbeat = heartbeat;
    }

    /// The checkpoint partition's high watermark, if its leader is certain.
    fn listed_checkpoint_end(&mut self) -> Result<Option<i64>, RestoreError> {
        let (client, topic) = (self.uncommitted.client(), &self.topics.checkpoint);
        match self.proof.list(client, topic, &[self.partition]) {
            Ok(listed) => Ok(listed.ends.first().map(|&(_, end)| end)),
            Err(source) => Err(self.checkpoint_failed("list the end", source)),
        }
    }

    fn checkpoint_failed(&self, step: &'static str, source: KafkaError) -> RestoreError {
        let topic = self.topics.checkpoint.clone();
        RestoreError::Kafka {
            topic,
            step,
            source,
        }
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

    /// Called by everything that repeats itself.
    fn check_stop(&self) -> Result<(), RestoreError> {
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.beat();
        }
        if self.stop.is_cancelled() {
            Err(RestoreError::Stopped)
        } else {
            Ok(())
        }
    }

    /// The name of a topic.
    fn name(&self, topic: RestoreTopic) -> &str {
        match topic {
            RestoreTopic::Source => &self.topics.session_logs,
            RestoreTopic::Checkpoint => &self.topics.checkpoint,
        }
    }

    /// The error of reading the records of the current topic.
    fn reading_failed(&self, source: KafkaError) -> RestoreError {
        RestoreError::Kafka {
            topic: self.name(self.current).to_owned(),
            step: "read the records",
            source,
        }
    }
}

impl RestoreLog for KafkaLog {
    type Error = RestoreError;
    type Record<'a> = BorrowedMessage<'a>;

    fn reading(&self) -> Reading {
        self.clock.reading()
    }

    fn committed(&mut self) -> Result<Option<CommittedOffset>, RestoreError> {
        let topic = &self.topics.session_logs;
        let committed = self.reader.committed_offset(topic, self.partition);
        committed.map_err(|source| RestoreError::Kafka {
            topic: topic.clone(),
            step: "fetch the committed offset",
            source,
        })
    }

    /// Uses the last response for a moment: for the other partitions of an assignment.
    fn identity(&mut self) -> Result<LogIdentity, RestoreError> {
        let now = self.clock.elapsed();
        if let Some((identity, at)) = self.identity
            && now.saturating_sub(at) < LOOKUP_LIFETIME
        {
            return Ok(identity);
        }
        let topics = [&*self.topics.session_logs, &*self.topics.checkpoint];
        let failed = |step| {
            move |source| RestoreError::Kafka {
                topic: topics.join(" and "),
                step,
                source,
            }
        };
        let ids = self.topic_ids.fetch(topics, REQUEST_TIMEOUT);
        let [topic_id, checkpoint_id] = ids.map_err(failed("look up the topic ids"))?;
        let partitions = self.uncommitted.partitions(topics[0]);
        let partitions = partitions.map_err(failed("list the partitions"))?;
        let identity = LogIdentity {
            topic_id,
            checkpoint_id,
            partitions: i32::try_from(partitions.len()).ok(),
            ..LogIdentity::default()
        };
        self.identity = Some((identity, now));
        Ok(identity)
    }

    fn source_offsets(&mut self) -> Result<OffsetRange, RestoreError> {
        self.offsets(&self.uncommitted, &self.topics.session_logs)
    }

    fn checkpoint_end(&mut self) -> Result<i64, RestoreError> {
        let begun = self.clock.elapsed();
        if begun.saturating_sub(self.proven_at) > LOOKUP_LIFETIME {
            self.proof.forget_leaders();
        }
        let mut interval = Duration::ZERO;
        loop {
            self.check_stop()?;
            let end = self.listed_checkpoint_end()?;
            let now = self.clock.elapsed();
            if let Some(end) = end {
                self.proven_at = now;
                return Ok(end);
            }
            if now.saturating_sub(begun) > PROOF_TIMEOUT {
                let timed_out = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
                return Err(self.checkpoint_failed("confirm the leader", timed_out));
            }
            // The first request may only have found the leaders.
            thread::sleep(interval);
            interval = PROOF_INTERVAL;
        }
    }

    fn checkpoint_stable_offsets(&mut self) -> Result<OffsetRange, RestoreError> {
        // The end offset of a reader of committed records is the last stable offset.
        self.checkpoint_offsets(&self.reader)
    }

    fn pause(&mut self) -> Result<(), RestoreError> {
        self.check_stop()?;
        thread::sleep(STABLE_END_INTERVAL);
        Ok(())
    }

    fn start_reading(&mut self, topic: RestoreTopic, from: i64) -> Result<(), RestoreError> {
        self.current = topic;
        self.idle_since = self.clock.elapsed();
        self.has_read = false;
        let position = (self.name(topic), self.partition, Offset::Offset(from));
        let assigned = self.reader.assign([position]);
        assigned.map_err(|error| self.reading_failed(error))
    }

    fn poll(
        &mut self,
        visit: &mut impl FnMut(&BorrowedMessage<'_>) -> Result<(), RestoreError>,
    ) -> Result<ReadProgress, RestoreError> {
        if self.unchecked == 0 {
            self.check_stop()?;
            self.unchecked = RECORDS_PER_CHECK;
        }
        let polled = self.reader.poll(POLL_INTERVAL);
        if matches!(polled, Ok(Some(Polled::Record(_)))) {
            self.unchecked -= 1;
            self.has_read = true;
        } else {
            self.check_stop()?;
            let now = self.clock.elapsed();
            if std::mem::take(&mut self.has_read) {
                self.idle_since = now;
            } else if now.saturating_sub(self.idle_since) > IDLE_TIMEOUT {
                let timed_out = RDKafkaErrorCode::OperationTimedOut;
                return Err(self.reading_failed(KafkaError::MessageConsumption(timed_out)));
            }
        }
        match polled {
            // Fetched for the previous assignment.
            Ok(Some(Polled::Record(message))) if message.topic() != self.name(self.current) => {
                Ok(ReadProgress::Idle)
            }
            Ok(Some(Polled::Record(message))) => {
                visit(&message)?;
                let next = message.offset() + 1;
                Ok(ReadProgress::Record { next })
            }
            Ok(Some(Polled::EndOfPartition(_))) => Ok(ReadProgress::EndOfPartition),
            Ok(None) => Ok(ReadProgress::Idle),
            Err(error) if is_transient(&error) => Ok(ReadProgress::Idle),
            Err(error) => Err(self.reading_failed(error)),
        }
    }

    fn position(&mut self) -> Result<i64, RestoreError> {
        let positions = self.reader.positions(self.name(self.current));
        let positions = positions.map_err(|error| self.reading_failed(error))?;
        let positions = positions.iter().map(|&(_, position)| position);
        Ok(positions.max().unwrap_or(-1))
    }

    fn stop_reading(&mut self) -> Result<(), RestoreError> {
        let unassigned = self.reader.unassign();
        unassigned.map_err(|error| self.reading_failed(error))
    }

    fn covered_position(record: &BorrowedMessage<'_>) -> Option<i64> {
        position(record)
    }
}

/// The value of the header [`POSITION`], unless another writer has set it to something else.
fn position(message: &BorrowedMessage<'_>) -> Option<i64> {
    let value = headers::find(message.headers(), POSITION)?;
    str::from_utf8(value).ok()?.parse().ok()
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
    /// The logs and the committed offset do not belong together. None of the partition's sessions
    /// ends until an operator decides.
    #[error(transparent)]
    Held(#[from] StateHold),
    #[error("stopped")]
    Stopped,
}
