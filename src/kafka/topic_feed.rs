//! A thread that reads a topic from its beginning and sends its records to a channel.
//!
//! For data that a process needs as a whole: policies, pauses, process reports. The thread
//! logs failures of brokers and retries.

use std::time::Duration;
use std::{fmt, thread};

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use super::errors::WithHint;
use super::topic_reader::pending_ends::PendingEnds;
use super::topic_reader::{Polled, ReaderOptions, TopicReader};
use crate::session::Timestamp;
use crate::wire::record::{SourceRecord, TimestampKind};

/// Capacity of the channel, in events; reading pauses while it is full.
const CHANNEL_CAPACITY: usize = 1_000;
/// Bounds the records that librdkafka fetches ahead of the channel, in KiB.
const MAX_PREFETCH_KIB: &str = "16384";
/// Bounds one request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval at which a wait for records checks for cancellation.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Interval at which a full channel is checked for capacity and cancellation.
const SEND_INTERVAL: Duration = Duration::from_millis(5);
/// Backoff after the first failure to list offsets; doubles with each further one.
const MIN_BACKOFF: Duration = Duration::from_millis(250);
/// The longest backoff.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// What a feed sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicEvent {
    /// A record. Records of a partition are in order.
    Record(TopicRecord),
    /// All records that the topic had when its end offsets were first listed have been sent,
    /// including those of transactions that were open then. Sent once.
    CaughtUp,
}

/// A record of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp; [`Timestamp::MAX`] if it has none.
    pub timestamp: Timestamp,
    /// The clock that the timestamp was taken from.
    pub timestamp_kind: TimestampKind,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value; `None` in a tombstone.
    pub value: Option<Vec<u8>>,
}

/// A thread that reads a topic and sends its records to a channel.
pub struct TopicFeed {
    reader: TopicReader,
    /// Lists high watermarks, which may be above the last stable offsets.
    uncommitted: TopicReader,
    topic: String,
    sender: Sender<TopicEvent>,
    stop: CancellationToken,
    /// The ends that [`TopicEvent::CaughtUp`] waits for; `None` before they are listed and
    /// after it has been sent.
    pending: Option<PendingEnds>,
    /// The last failure to start that was logged.
    last_error: Option<String>,
}

impl TopicFeed {
    /// Reads the committed records of `topic` from its first one on, until `stop` is
    /// cancelled or the receiver is dropped. The brokers and the topic may appear later.
    ///
    /// Partitions that are added later are not read. A topic that is deleted and created
    /// again is read from its beginning.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration, or the thread cannot be started.
    pub fn start(
        config: &ClientConfig,
        topic: &str,
        stop: CancellationToken,
    ) -> anyhow::Result<Receiver<TopicEvent>> {
        let options = ReaderOptions {
            name: topic,
            request_timeout: REQUEST_TIMEOUT,
            properties: &[
                ("auto.offset.reset", "earliest"),
                ("queued.max.messages.kbytes", MAX_PREFETCH_KIB),
            ],
        };
        let (sender, receiver) = channel(CHANNEL_CAPACITY);
        let feed = Self {
            reader: TopicReader::new(config, &options)?,
            uncommitted: TopicReader::read_uncommitted(config, &options)?,
            topic: topic.to_owned(),
            sender,
            stop,
            pending: None,
            last_error: None,
        };
        thread::Builder::new()
            .name("topic-feed".to_owned())
            .spawn(move || feed.run())?;
        Ok(receiver)
    }

    fn run(mut self) {
        if self.assign_with_backoff().is_none() {
            return;
        }
        self.report_if_caught_up();
        while !self.is_stopped() {
            match self.reader.poll(POLL_INTERVAL) {
                Ok(Some(Polled::Record(record))) => {
                    let record = TopicRecord::from(&record);
                    let (partition, position) = (record.partition, record.offset + 1);
                    self.send(TopicEvent::Record(record));
                    self.advance(partition, position);
                }
                // Reading began once everything before the pending ends was stable, so the
                // partition ends behind its pending end.
                Ok(Some(Polled::EndOfPartition(partition))) => self.advance(partition, i64::MAX),
                // The reader logs errors, and librdkafka retries.
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// Assigns all partitions, retrying until that succeeds; `None` if stopped before.
    fn assign_with_backoff(&mut self) -> Option<()> {
        let mut backoff = MIN_BACKOFF;
        while !self.is_stopped() {
            match self.assign() {
                Ok(()) => return Some(()),
                Err(reason) => self.log_failure(&reason),
            }
            self.sleep(backoff);
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
        None
    }

    /// Lists the end offsets, and assigns every partition from its beginning.
    fn assign(&mut self) -> Result<(), AssignError> {
        let partitions = self.reader.partitions(&self.topic)?;
        let pending = match self.pending.take() {
            Some(pending) => pending,
            // The high watermarks: transactions between the last stable offset and those may
            // have been committed already.
            None => self.high_watermarks(&partitions)?,
        };
        let stable = self.reader.end_offsets(&self.topic, &partitions)?;
        let is_stable = pending.are_within(&stable);
        self.pending = Some(pending);
        if !is_stable {
            return Err(AssignError::OpenTransaction);
        }
        let topic = self.topic.as_str();
        let beginnings = partitions.into_iter();
        let beginnings = beginnings.map(|partition| (topic, partition, Offset::Beginning));
        Ok(self.reader.assign(beginnings)?)
    }

    /// The high watermarks of the partitions that have ever had records.
    fn high_watermarks(&self, partitions: &[i32]) -> KafkaResult<PendingEnds> {
        let ends = self.uncommitted.end_offsets(&self.topic, partitions)?;
        Ok(ends.into_iter().filter(|(_, end)| *end > 0).collect())
    }

    /// Everything of `partition` before `position` has been sent.
    fn advance(&mut self, partition: i32, position: i64) {
        if let Some(pending) = &mut self.pending
            && pending.advance(partition, position)
        {
            self.report_if_caught_up();
        }
    }

    fn report_if_caught_up(&mut self) {
        if self.pending.as_ref().is_some_and(PendingEnds::is_empty) {
            self.pending = None;
            self.send(TopicEvent::CaughtUp);
        }
    }

    /// Waits for capacity in the channel, unless stopped.
    fn send(&self, mut event: TopicEvent) {
        while !self.stop.is_cancelled() {
            match self.sender.try_send(event) {
                Err(TrySendError::Full(unsent)) => event = unsent,
                Ok(()) | Err(TrySendError::Closed(_)) => return,
            }
            thread::sleep(SEND_INTERVAL);
        }
    }

    fn log_failure(&mut self, error: &dyn fmt::Display) {
        let error = error.to_string();
        if self.last_error.as_ref() != Some(&error) {
            tracing::warn!(topic = self.topic, error, "cannot read the topic; retrying");
            self.last_error = Some(error);
        }
    }

    fn sleep(&self, mut time: Duration) {
        while !time.is_zero() && !self.is_stopped() {
            let step = time.min(POLL_INTERVAL);
            thread::sleep(step);
            time -= step;
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_cancelled() || self.sender.is_closed()
    }
}

/// Why the partitions cannot be assigned yet.
#[derive(Debug, thiserror::Error)]
enum AssignError {
    #[error("{}", WithHint(.0))]
    Kafka(#[from] KafkaError),
    #[error("a transaction is open on it; check whether its producer hangs")]
    OpenTransaction,
}

impl From<&BorrowedMessage<'_>> for TopicRecord {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let (timestamp, timestamp_kind) = SourceRecord::timestamp(message);
        Self {
            partition: message.partition(),
            offset: Message::offset(message),
            timestamp,
            timestamp_kind,
            key: Message::key(message).map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
        }
    }
}
