//! Follows a topic: everything that is in it from the beginning, then what is added.
//!
//! For what a process wants to know as a whole: the policies, what the other processes
//! report. The reader belongs to no group and commits nothing. It has a thread of its
//! own and outlives brokers that do not answer: it says so in the log and keeps trying.

use std::collections::BTreeMap;
use std::time::Duration;
use std::{fmt, thread};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use super::errors::WithHint;
use super::list_offsets::list_offsets;
use super::reader::{self, reader_config};
use crate::session::Timestamp;
use crate::wire::record::{SourceRecord, TimestampKind};

/// How many records may wait for whoever follows; at the bound, reading pauses.
const QUEUE: usize = 1_000;
/// How much librdkafka may fetch ahead of that, in KiB.
const FETCHED_KIB: &str = "16384";
/// How long one question to the brokers may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for a record before looking whether to stop.
const POLL: Duration = Duration::from_millis(100);
/// How long to wait for room in the queue before looking whether to stop.
const ROOM: Duration = Duration::from_millis(5);
/// How long to wait before the brokers are asked again where the topic ends: this after
/// the first failure, twice as long after each further one, up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// What a follower learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicEvent {
    /// A record, those of a partition in their order.
    Record(TopicRecord),
    /// All that was in the topic when the brokers were first asked has been told;
    /// transactions that were open then have been waited for. Told once.
    CaughtUp,
}

/// A record of the topic that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp; [`Timestamp::MAX`] where it has none.
    pub timestamp: Timestamp,
    /// Whose time that is.
    pub timestamp_kind: TimestampKind,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none in a tombstone.
    pub value: Option<Vec<u8>>,
}

/// A thread that follows a topic.
pub struct TopicReader {
    consumer: BaseConsumer<ReaderContext>,
    /// Sees the high watermark rather than the last stable offset.
    asker: BaseConsumer<ReaderContext>,
    topic: String,
    sender: Sender<TopicEvent>,
    stop: CancellationToken,
    /// Where the partitions end whose end has not been reached; none once all have.
    open: Option<BTreeMap<i32, i64>>,
    /// What was last complained of, so that it is not said over and over.
    told: Option<String>,
}

impl TopicReader {
    /// Follows `topic`, read committed, from its first record on, until `stop` or until
    /// the receiver is dropped. Brokers need not answer yet, nor the topic exist.
    ///
    /// Partitions that are added later are not followed. If the topic is made anew,
    /// it is read from its beginning again.
    ///
    /// # Errors
    /// If the client's configuration is not one that librdkafka accepts, or no thread can
    /// be started.
    pub fn start(
        config: &ClientConfig,
        topic: &str,
        stop: CancellationToken,
    ) -> anyhow::Result<Receiver<TopicEvent>> {
        let mut config = reader_config(config, topic);
        config
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", FETCHED_KIB);
        let context = || ReaderContext {
            topic: topic.to_owned(),
        };
        let consumer = config.create_with_context(context())?;
        config.set("isolation.level", "read_uncommitted");
        let (sender, receiver) = channel(QUEUE);
        let follower = Self {
            consumer,
            asker: config.create_with_context(context())?,
            topic: topic.to_owned(),
            sender,
            stop,
            open: None,
            told: None,
        };
        thread::Builder::new()
            .name("follower".to_owned())
            .spawn(move || follower.run())?;
        Ok(receiver)
    }

    fn run(mut self) {
        if self.assign().is_none() {
            return;
        }
        self.tell_if_caught_up();
        while !self.over() {
            match self.poll() {
                None => {}
                Some(Ok(record)) => {
                    let (partition, position) = (record.partition, record.offset + 1);
                    self.told = None;
                    self.tell(TopicEvent::Record(record));
                    self.reached(partition, position);
                }
                // Reading began once everything up to the noted end was stable, so this is
                // behind it.
                Some(Err(KafkaError::PartitionEOF(partition))) => self.reached(partition, i64::MAX),
                Some(Err(error)) => self.complain(&WithHint(&error)),
            }
        }
    }

    fn poll(&self) -> Option<KafkaResult<TopicRecord>> {
        let polled = reader::poll(&self.consumer, POLL)?;
        Some(polled.map(|message| TopicRecord::from(&message)))
    }

    /// Starts reading every partition from its beginning, and notes where they end. Asks
    /// until there is an answer; nothing if told to stop before.
    fn assign(&mut self) -> Option<()> {
        let mut backoff = FIRST_BACKOFF;
        while !self.over() {
            match self.try_assign() {
                Ok(()) => {
                    self.told = None;
                    return Some(());
                }
                Err(reason) => self.complain(&reason),
            }
            self.sleep(backoff);
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
        None
    }

    fn try_assign(&mut self) -> Result<(), NotYet> {
        let partitions = self.partitions()?;
        let open = match self.open.take() {
            Some(open) => open,
            // The high watermark: what lies between it and the last stable offset may have
            // been committed already.
            None => ends(&self.asker, &self.topic, &partitions)?,
        };
        let stable = ends(&self.consumer, &self.topic, &partitions)?;
        let behind = |(partition, end): (&i32, &i64)| stable.get(partition) < Some(end);
        let unstable = open.iter().any(behind);
        self.open = Some(open);
        if unstable {
            return Err(NotYet::Transactions);
        }
        let mut beginnings = TopicPartitionList::new();
        for partition in partitions {
            beginnings.add_partition_offset(&self.topic, partition, Offset::Beginning)?;
        }
        Ok(self.consumer.assign(&beginnings)?)
    }

    fn partitions(&self) -> KafkaResult<Vec<i32>> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), TIMEOUT)?;
        let described = metadata.topics().first();
        let error = described.and_then(rdkafka::metadata::MetadataTopic::error);
        if let Some(error) = error {
            return Err(KafkaError::MetadataFetch(error.into()));
        }
        let partitions = described.into_iter().flat_map(|topic| topic.partitions());
        let partitions: Vec<_> = partitions.map(|partition| partition.id()).collect();
        if partitions.is_empty() {
            let unknown = RDKafkaErrorCode::UnknownTopicOrPartition;
            return Err(KafkaError::MetadataFetch(unknown));
        }
        Ok(partitions)
    }

    /// Everything of `partition` before `position` has been told.
    fn reached(&mut self, partition: i32, position: i64) {
        if let Some(open) = &mut self.open
            && open.get(&partition).is_some_and(|end| *end <= position)
        {
            open.remove(&partition);
            self.tell_if_caught_up();
        }
    }

    fn tell_if_caught_up(&mut self) {
        if self.open.as_ref().is_some_and(BTreeMap::is_empty) {
            self.open = None;
            self.tell(TopicEvent::CaughtUp);
        }
    }

    /// Waits for room in the queue, unless nobody wants to know any more.
    fn tell(&self, mut followed: TopicEvent) {
        while !self.stop.is_cancelled() {
            match self.sender.try_send(followed) {
                Err(TrySendError::Full(back)) => followed = back,
                Ok(()) | Err(TrySendError::Closed(_)) => return,
            }
            thread::sleep(ROOM);
        }
    }

    fn complain(&mut self, error: &dyn fmt::Display) {
        let error = error.to_string();
        if self.told.as_ref() != Some(&error) {
            tracing::warn!(topic = self.topic, error, "cannot be read; trying again");
            self.told = Some(error);
        }
    }

    fn sleep(&self, mut time: Duration) {
        while !time.is_zero() && !self.over() {
            let step = time.min(POLL);
            thread::sleep(step);
            time -= step;
        }
    }

    fn over(&self) -> bool {
        self.stop.is_cancelled() || self.sender.is_closed()
    }
}

/// Why reading cannot begin.
#[derive(Debug, thiserror::Error)]
enum NotYet {
    #[error("{}", WithHint(.0))]
    Kafka(#[from] KafkaError),
    #[error("a transaction is open on it: is its writer stuck?")]
    Transactions,
}

/// Where the partitions end that have had records, as `client` sees it.
fn ends(
    client: &BaseConsumer<ReaderContext>,
    topic: &str,
    partitions: &[i32],
) -> KafkaResult<BTreeMap<i32, i64>> {
    let mut ends = list_offsets(client, topic, partitions, Offset::End, TIMEOUT)?;
    ends.retain(|_, end| *end > 0);
    Ok(ends)
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

/// Says when all brokers are gone; librdkafka tells that once each time.
struct ReaderContext {
    topic: String,
}

impl ClientContext for ReaderContext {
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                tracing::warn!(
                    topic = self.topic,
                    reason,
                    "no broker answers; trying again"
                );
            }
            _ => tracing::debug!(topic = self.topic, %error, reason, "the follower goes on"),
        }
    }
}

impl ConsumerContext for ReaderContext {}
