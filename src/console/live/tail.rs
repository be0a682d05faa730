//! The newest records of topics, and whatever is added to them.
//!
//! A thread with a consumer of its own, in no group. Unlike
//! [`TopicReader`](crate::kafka::topic_reader::TopicReader), it does not read what is older.

use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_util::sync::CancellationToken;

use crate::kafka::errors::{WithHint, remedy};
use crate::kafka::reader::{self, reader_config};
use crate::session::Timestamp;
use crate::wire::record::{RecordHeader, SourceRecord};

/// How many records may wait for whoever reads them; at the bound, reading pauses.
const QUEUE: usize = 1_000;
/// How much librdkafka may fetch ahead of that, in KiB.
const FETCHED_KIB: &str = "8192";
/// How long one question to the brokers may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for a record before looking whether to stop.
const POLL: Duration = Duration::from_millis(100);
/// How long to wait before the brokers are asked again for a topic that is not there.
const RETRY: Duration = Duration::from_secs(2);

/// A record, with all that there is to see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailRecord {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none in a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<RecordHeader>,
}

impl TailRecord {
    /// The text of its first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(found, _)| found == name)?;
        str::from_utf8(header.1.as_deref()?).ok()
    }
}

impl TailRecord {
    /// The text of its last header of this name: where a record may have had one before it
    /// came to where it is.
    #[must_use]
    pub fn last_header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter().rev();
        let header = headers.find(|(found, _)| found == name)?;
        str::from_utf8(header.1.as_deref()?).ok()
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
            headers: SourceRecord::headers(message),
        }
    }
}

/// Reads about the last `kept` committed records of each topic, then what is added, until
/// `stop`. Partitions that are added later are not read.
///
/// # Errors
/// If the client's configuration is not one that librdkafka accepts, or no thread can be
/// started.
pub fn start(
    config: &ClientConfig,
    topics: Vec<String>,
    kept: usize,
    stop: CancellationToken,
) -> anyhow::Result<Receiver<TailRecord>> {
    let mut config = reader_config(config, "sundown-console-tail");
    config
        .set("auto.offset.reset", "latest")
        .set("queued.max.messages.kbytes", FETCHED_KIB);
    let consumer: BaseConsumer = config.create()?;
    let (sender, receiver) = channel(QUEUE);
    let tail = Tail {
        consumer,
        topics,
        kept: i64::try_from(kept).unwrap_or(i64::MAX),
        sender,
        stop,
        told: None,
    };
    thread::Builder::new()
        .name("console-tail".to_owned())
        .spawn(move || tail.run())?;
    Ok(receiver)
}

struct Tail {
    consumer: BaseConsumer,
    topics: Vec<String>,
    kept: i64,
    sender: Sender<TailRecord>,
    stop: CancellationToken,
    /// What was last complained of, so that it is not said over and over.
    told: Option<String>,
}

impl Tail {
    fn run(mut self) {
        while let Err(error) = self.assign() {
            self.complain(&error);
            if !self.sleep(RETRY) {
                return;
            }
        }
        while !self.stop.is_cancelled() {
            match reader::poll(&self.consumer, POLL) {
                None => {}
                Some(Ok(record)) => {
                    self.told = None;
                    // On a thread of its own it may wait; the receiver ends with the console.
                    let sent = self.sender.blocking_send(TailRecord::from(&record));
                    let Ok(()) = sent else { return };
                }
                Some(Err(error)) if error.rdkafka_error_code().and_then(remedy).is_some() => {
                    self.complain(&error);
                }
                Some(Err(error)) => tracing::debug!(%error, "the tail goes on"),
            }
        }
    }

    /// Starts each partition where its share of the newest records begins.
    fn assign(&self) -> KafkaResult<()> {
        let mut positions = TopicPartitionList::new();
        for topic in &self.topics {
            let metadata = self.consumer.fetch_metadata(Some(topic), TIMEOUT)?;
            let described = metadata.topics().first();
            let described = described.ok_or(KafkaError::NoMessageReceived)?;
            if let Some(error) = described.error() {
                return Err(KafkaError::MetadataFetch(error.into()));
            }
            let partitions = described.partitions();
            let share = self.kept / i64::try_from(partitions.len().max(1)).unwrap_or(1) + 1;
            for partition in partitions {
                let id = partition.id();
                let (first, end) = self.consumer.fetch_watermarks(topic, id, TIMEOUT)?;
                let start = first.max(end - share);
                positions.add_partition_offset(topic, id, Offset::Offset(start))?;
            }
        }
        self.consumer.assign(&positions)
    }

    /// A topic that is not there yet is nothing to tell of.
    fn complain(&mut self, error: &KafkaError) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition) {
            return;
        }
        let error = WithHint(error).to_string();
        if self.told.as_ref() != Some(&error) {
            let topics = self.topics.join(", ");
            tracing::warn!(
                topics,
                error,
                "the newest records cannot be read; trying again"
            );
            self.told = Some(error);
        }
    }

    /// Waits; whether to go on.
    fn sleep(&self, time: Duration) -> bool {
        let mut left = time;
        while !left.is_zero() && !self.stop.is_cancelled() {
            let step = left.min(POLL);
            thread::sleep(step);
            left -= step;
        }
        !self.stop.is_cancelled()
    }
}
