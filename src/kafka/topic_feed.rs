//! Reads a topic from its beginning and then whatever is appended to it.
//!
//! For data that a process needs as a whole: policies, pauses, process reports. A feed logs
//! failures of brokers and retries.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{fmt, thread};

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use super::errors::WithHint;
use super::recreating_producer::{SilenceTimer, recreate};
use super::topic_reader::pending_ends::PendingEnds;
use super::topic_reader::{Polled, ReaderOptions, TopicReader};
use crate::clock::Clock;
use crate::health::{HELPER_TIMEOUT, Health, Heartbeat};
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
/// Bounds the events of one [`TopicFeed::read`].
const MAX_BATCH: usize = 100;

/// Interval at which a feed without new records asks whether the brokers still answer.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

fn reader_options(topic: &str) -> ReaderOptions<'_> {
    ReaderOptions {
        name: topic,
        request_timeout: REQUEST_TIMEOUT,
        properties: &[
            ("auto.offset.reset", "earliest"),
            ("queued.max.messages.kbytes", MAX_PREFETCH_KIB),
        ],
    }
}

/// What a feed returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicEvent {
    /// A record. Records of a partition are in order.
    Record(TopicRecord),
    /// All records that the topic had when its end offsets were first listed have been returned,
    /// including those of transactions that were open then. Returned once.
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

/// Reads a topic from its beginning.
pub struct TopicFeed {
    config: ClientConfig,
    reader: TopicReader,
    /// Lists high watermarks, which may be above the last stable offsets.
    uncommitted: TopicReader,
    topic: String,
    stop: CancellationToken,
    assigned: bool,
    /// Time left until the next attempt to assign partitions.
    retry_in: Duration,
    backoff: Duration,
    /// The ends that [`TopicEvent::CaughtUp`] waits for; `None` before they are listed and
    /// after it has been returned.
    pending: Option<PendingEnds>,
    caught_up: bool,
    /// The last failure to start that was logged.
    last_error: Option<String>,
    /// The offset after the last record of each partition that has been read.
    positions: BTreeMap<i32, i64>,
    /// Whether the brokers still answer the reader.
    silence: SilenceTimer,
    /// Time left until the brokers are asked again.
    check_in: Duration,
}

impl TopicFeed {
    /// Opens a feed of the committed records of `topic` from its first one on, which ends once
    /// `stop` is cancelled. The brokers and the topic may appear later.
    ///
    /// Partitions that are added later are not read. A topic that is deleted and created
    /// again is read from its beginning.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn open(config: &ClientConfig, topic: &str, stop: CancellationToken) -> KafkaResult<Self> {
        Ok(Self {
            config: config.clone(),
            reader: TopicReader::new(config, &reader_options(topic))?,
            uncommitted: TopicReader::read_uncommitted(config, &reader_options(topic))?,
            topic: topic.to_owned(),
            stop,
            assigned: false,
            retry_in: Duration::ZERO,
            backoff: MIN_BACKOFF,
            pending: None,
            caught_up: false,
            last_error: None,
            positions: BTreeMap::new(),
            silence: SilenceTimer::start(Clock::default()),
            check_in: CHECK_INTERVAL,
        })
    }

    /// [Opens](Self::open) a feed, and reads it on a thread that sends the events to a channel.
    /// The feed also ends once the receiver is dropped.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration, or the thread cannot be started.
    pub fn start(
        config: &ClientConfig,
        topic: &str,
        health: &Health,
        stop: CancellationToken,
    ) -> anyhow::Result<Receiver<TopicEvent>> {
        let mut feed = Self::open(config, topic, stop)?;
        let (sender, receiver) = channel(CHANNEL_CAPACITY);
        let run = move |heartbeat: Heartbeat| {
            let mut events = Vec::new();
            while !sender.is_closed() && feed.read(&mut events) {
                heartbeat.beat();
                for event in events.drain(..) {
                    feed.send(&sender, event);
                }
            }
        };
        let name = format!("reader of {topic}");
        health.spawn(&name, HELPER_TIMEOUT, run)?;
        Ok(receiver)
    }

    /// Appends the events that have arrived, after waiting a moment for the first of them.
    /// Returns false once stopped.
    pub fn read(&mut self, events: &mut Vec<TopicEvent>) -> bool {
        if self.stop.is_cancelled() {
            return false;
        }
        if !self.assigned {
            self.assign_with_backoff(events);
            return true;
        }
        let before = events.len();
        let mut timeout = POLL_INTERVAL;
        while events.len() < MAX_BATCH {
            match self.reader.poll(timeout) {
                Ok(Some(Polled::Record(record))) => {
                    let record = TopicRecord::from(&record);
                    let (partition, position) = (record.partition, record.offset + 1);
                    self.positions.insert(partition, position);
                    events.push(TopicEvent::Record(record));
                    self.advance(partition, position, events);
                }
                // Reading began once everything before the pending ends was stable, so the
                // partition ends behind its pending end.
                Ok(Some(Polled::EndOfPartition(partition))) => {
                    self.advance(partition, i64::MAX, events);
                }
                // The reader logs errors, and librdkafka retries.
                Ok(None) | Err(_) => break,
            }
            timeout = Duration::ZERO;
        }
        if events.len() > before {
            self.check_in = CHECK_INTERVAL;
            self.silence.must_recreate(&Ok(()));
        } else {
            self.check_connection();
        }
        true
    }

    /// Asks the brokers for the partitions every few seconds without a record. librdkafka may
    /// never connect again after all brokers were down, and a reader shows no difference to a
    /// topic without new records.
    fn check_connection(&mut self) {
        self.check_in = self.check_in.saturating_sub(POLL_INTERVAL);
        if self.check_in.is_zero() {
            self.check_in = CHECK_INTERVAL;
            let answer = self.reader.partitions(&self.topic);
            self.replace_if_silent(&answer);
        }
    }

    /// Replaces the clients if no broker answers them; reading goes on where it was.
    fn replace_if_silent<T>(&mut self, answer: &KafkaResult<T>) {
        if !self.silence.must_recreate(answer) {
            return;
        }
        tracing::warn!(
            topic = self.topic,
            "no broker answers; replacing the Kafka client"
        );
        let (config, options) = (&self.config, reader_options(&self.topic));
        let replaced = recreate(&mut self.reader, || TopicReader::new(config, &options))
            && recreate(&mut self.uncommitted, || {
                TopicReader::read_uncommitted(config, &options)
            });
        if replaced {
            self.assigned = false;
        }
    }

    /// Assigns all partitions if an attempt is due, or waits a moment for it.
    fn assign_with_backoff(&mut self, events: &mut Vec<TopicEvent>) {
        if !self.retry_in.is_zero() {
            let step = self.retry_in.min(POLL_INTERVAL);
            thread::sleep(step);
            self.retry_in -= step;
            return;
        }
        match self.assign() {
            Ok(()) => {
                self.assigned = true;
                self.report_if_caught_up(events);
            }
            Err(reason) => {
                self.log_failure(&reason);
                if let AssignError::Kafka(error) = reason {
                    self.replace_if_silent::<()>(&Err(error));
                }
                self.retry_in = self.backoff;
                self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
            }
        }
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
        let starts = partitions.into_iter().map(|partition| {
            let position = self.positions.get(&partition);
            let start = position.map_or(Offset::Beginning, |offset| Offset::Offset(*offset));
            (topic, partition, start)
        });
        Ok(self.reader.assign(starts)?)
    }

    /// The high watermarks of the partitions that have ever had records.
    fn high_watermarks(&self, partitions: &[i32]) -> KafkaResult<PendingEnds> {
        let ends = self.uncommitted.end_offsets(&self.topic, partitions)?;
        Ok(ends.into_iter().filter(|(_, end)| *end > 0).collect())
    }

    /// Everything of `partition` before `position` has been returned.
    fn advance(&mut self, partition: i32, position: i64, events: &mut Vec<TopicEvent>) {
        if let Some(pending) = &mut self.pending
            && pending.advance(partition, position)
        {
            self.report_if_caught_up(events);
        }
    }

    fn report_if_caught_up(&mut self, events: &mut Vec<TopicEvent>) {
        if self.pending.as_ref().is_some_and(PendingEnds::is_empty) {
            self.pending = None;
            // Once, although the partitions may be assigned again.
            if !std::mem::replace(&mut self.caught_up, true) {
                events.push(TopicEvent::CaughtUp);
            }
        }
    }

    /// Waits for capacity in the channel, unless stopped.
    fn send(&self, sender: &Sender<TopicEvent>, mut event: TopicEvent) {
        while !self.stop.is_cancelled() {
            match sender.try_send(event) {
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
