//! The newest records of topics, and those appended later.
//!
//! Unlike a [`TopicFeed`](crate::kafka::topic_feed::TopicFeed), it does not read older records.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::health::{HELPER_TIMEOUT, Health, Heartbeat};
use crate::kafka::errors::WithHint;
use crate::kafka::headers::{self, ReadableHeaders};
use crate::kafka::recreating_client::RecreatingClient;
use crate::kafka::topic_reader::{Polled, ReaderOptions, TopicReader};
use crate::session::{Span, Timestamp};
use crate::wire::record::{RecordHeader, SourceRecord};

/// Capacity of the channel, in records; reading pauses while it is full.
const CHANNEL_CAPACITY: usize = 1_000;
/// Bounds the records that librdkafka fetches ahead of the channel, in KiB.
const MAX_PREFETCH_KIB: &str = "8192";
/// Bounds one request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval at which a wait for records checks for cancellation.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long no record may come before brokers are asked whether they are there.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Interval at which the topics are looked up until all of them exist.
const ASSIGN_RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// A record with its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailRecord {
    /// The record's topic.
    pub topic: String,
    /// The record's partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The record's timestamp.
    pub timestamp: Timestamp,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value; `None` in a tombstone.
    pub value: Option<Vec<u8>>,
    /// The record's headers whose names are UTF-8, in order.
    pub headers: Vec<RecordHeader>,
}

impl TailRecord {
    /// The text of the first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(found, _)| found == name)?;
        str::from_utf8(header.1.as_deref()?).ok()
    }

    /// The text of the last header of this name. The source record of a dead letter may
    /// already have had one.
    #[must_use]
    pub fn last_header(&self, name: &str) -> Option<&str> {
        str::from_utf8(headers::last(&self.headers, name)?).ok()
    }
}

impl From<&BorrowedMessage<'_>> for TailRecord {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        Self {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: Message::offset(message),
            timestamp: SourceRecord::timestamp(message).0,
            key: Message::key(message).map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: ReadableHeaders::copy(Message::headers(message)).list,
        }
    }
}

/// The oldest records that are read.
#[derive(Clone, Copy, Debug)]
pub enum TailStart {
    /// About so many of the newest records of each topic.
    Last(usize),
    /// Those of the last hours.
    Since(Span),
}

/// Reads the newest committed records of each topic from `from` on, then those appended later,
/// until `stop` is cancelled. Partitions that are added later are not read.
///
/// # Errors
/// If librdkafka rejects the configuration, or the thread cannot be started.
pub fn start(
    config: &ClientConfig,
    topics: Vec<String>,
    (from, clock): (TailStart, Clock),
    health: &Health,
    stop: CancellationToken,
) -> anyhow::Result<Receiver<TailRecord>> {
    let options = ReaderOptions {
        name: "sundown-console-tail",
        request_timeout: REQUEST_TIMEOUT,
        properties: &[
            ("auto.offset.reset", "latest"),
            ("queued.max.messages.kbytes", MAX_PREFETCH_KIB),
        ],
    };
    let (sender, receiver) = channel(CHANNEL_CAPACITY);
    let config = config.clone();
    let create = move || TopicReader::new(&config, &options);
    let tail = Tail {
        reader: RecreatingClient::new(clock, create)?,
        positions: BTreeMap::new(),
        topics,
        from,
        clock,
        sender,
        stop,
        last_error: None,
    };
    let read = move |heartbeat| tail.run(&heartbeat);
    health.spawn("console-tail", HELPER_TIMEOUT, read)?;
    Ok(receiver)
}

struct Tail {
    reader: RecreatingClient<TopicReader>,
    /// The next offset of each partition that records of have been sent.
    positions: BTreeMap<(String, i32), i64>,
    topics: Vec<String>,
    from: TailStart,
    clock: Clock,
    sender: Sender<TailRecord>,
    stop: CancellationToken,
    /// The last failure to start that was logged.
    last_error: Option<String>,
}

impl Tail {
    fn run(mut self, heartbeat: &Heartbeat) {
        let (mut assigned, mut check_in) = (false, CHECK_INTERVAL);
        while !self.stop.is_cancelled() {
            heartbeat.beat();
            if !assigned {
                match self.assign() {
                    Ok(()) => assigned = true,
                    Err(error) => {
                        self.log_failure(&error);
                        self.sleep(ASSIGN_RETRY_INTERVAL);
                    }
                }
                continue;
            }
            // The reader logs errors, and librdkafka retries.
            let polled = self.reader.client().poll(POLL_INTERVAL);
            if let Ok(Some(Polled::Record(record))) = polled {
                let record = TailRecord::from(&record);
                let place = (record.topic.clone(), record.partition);
                self.positions.insert(place, record.offset + 1);
                check_in = CHECK_INTERVAL;
                // The channel closes with the console.
                let Ok(()) = self.sender.blocking_send(record) else {
                    return;
                };
                continue;
            }
            check_in = check_in.saturating_sub(POLL_INTERVAL);
            if check_in.is_zero() {
                check_in = CHECK_INTERVAL;
                let topic = self.topics.first().map_or("", String::as_str);
                let answer = self.reader.client().partitions(topic);
                assigned = !self.reader.observe(&answer);
            }
        }
    }

    /// Assigns each partition from its share of the newest records on.
    fn assign(&mut self) -> KafkaResult<()> {
        let (topics, known) = (&self.topics, &self.positions);
        let (from, now) = (self.from, self.clock.wall());
        self.reader.ask(|reader| {
            let mut positions = Vec::new();
            for topic in topics {
                let partitions = reader.partitions(topic)?;
                for (partition, offsets) in reader.offsets(topic, &partitions)? {
                    let newest = match from {
                        TailStart::Last(limit) => {
                            let share = limit / partitions.len().max(1) + 1;
                            let share = i64::try_from(share).unwrap_or(i64::MAX);
                            offsets.first.max(offsets.end.saturating_sub(share))
                        }
                        TailStart::Since(age) => {
                            let start = reader.offset_for_time(topic, partition, now - age)?;
                            start.unwrap_or(offsets.end)
                        }
                    };
                    let next = known.get(&(topic.clone(), partition)).copied();
                    // Of a topic that has been created again, the newest records.
                    let next = next.filter(|next| *next <= offsets.end);
                    let start = newest.max(next.unwrap_or(newest));
                    positions.push((topic.as_str(), partition, Offset::Offset(start)));
                }
            }
            reader.assign(positions)
        })
    }

    /// A topic that does not exist yet is not logged.
    fn log_failure(&mut self, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
            return;
        }
        let error = WithHint(error).to_string();
        if self.last_error.as_ref() != Some(&error) {
            let topics = self.topics.join(", ");
            tracing::warn!(topics, error, "cannot read the newest records; retrying");
            self.last_error = Some(error);
        }
    }

    fn sleep(&self, mut time: Duration) {
        while !time.is_zero() && !self.stop.is_cancelled() {
            let step = time.min(POLL_INTERVAL);
            thread::sleep(step);
            time -= step;
        }
    }
}
