//! Reads topics outside any consumer group.
//!
//! A [`TopicReader`] is assigned its partitions, reads committed records, and commits
//! nothing. [`TopicFeed`](super::topic_feed::TopicFeed) runs one on a thread.

mod context;
pub mod pending_ends;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::list_offsets::{list_offsets, offset_for_time, partitions, watermarks};
use super::reader_config::reader_config;
use super::topics::OffsetRange;
use crate::session::Timestamp;
use context::ReaderContext;

/// Settings of a [`TopicReader`].
#[derive(Clone, Copy, Debug)]
pub struct ReaderOptions<'a> {
    /// Identifies the reader in logs; its `group.id` where the configuration has none.
    pub name: &'a str,
    /// Bounds each request for metadata and offsets.
    pub request_timeout: Duration,
    /// librdkafka properties.
    pub properties: &'a [(&'a str, &'a str)],
}

/// A consumer outside any group: it is assigned its partitions and commits nothing.
pub struct TopicReader {
    consumer: BaseConsumer<ReaderContext>,
    request_timeout: Duration,
}

/// What [`TopicReader::poll`] returns.
pub enum Polled<'a> {
    /// The next record of a partition.
    Record(BorrowedMessage<'a>),
    /// The reader has reached the end of this partition at its isolation level; more may be
    /// appended later.
    EndOfPartition(i32),
}

/// A committed offset of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset that the group resumes from.
    pub offset: i64,
    /// The metadata committed with it.
    pub metadata: String,
}

impl TopicReader {
    /// Creates a reader of committed records. It connects when it is first used.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn new(config: &ClientConfig, options: &ReaderOptions<'_>) -> KafkaResult<Self> {
        Self::with_isolation(config, options, "read_committed")
    }

    /// Creates a reader whose end offsets are high watermarks rather than last stable
    /// offsets.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn read_uncommitted(
        config: &ClientConfig,
        options: &ReaderOptions<'_>,
    ) -> KafkaResult<Self> {
        Self::with_isolation(config, options, "read_uncommitted")
    }

    fn with_isolation(
        config: &ClientConfig,
        options: &ReaderOptions<'_>,
        isolation: &str,
    ) -> KafkaResult<Self> {
        let mut config = reader_config(config, options.name);
        config
            .set("isolation.level", isolation)
            .set("enable.partition.eof", "true");
        for &(key, value) in options.properties {
            config.set(key, value);
        }
        Ok(Self {
            consumer: config.create_with_context(ReaderContext::new(options.name))?,
            request_timeout: options.request_timeout,
        })
    }

    /// The partitions of a topic.
    ///
    /// # Errors
    /// If the topic does not exist, or no broker responds.
    pub fn partitions(&self, topic: &str) -> KafkaResult<Vec<i32>> {
        partitions(self.consumer.client(), topic, self.request_timeout)
    }

    /// The first offset and the end offset of a partition.
    ///
    /// # Errors
    /// If its leader does not respond.
    pub fn partition_offsets(&self, topic: &str, partition: i32) -> KafkaResult<OffsetRange> {
        let client = self.consumer.client();
        let (first, end) = watermarks(client, topic, partition, self.request_timeout)?;
        Ok(OffsetRange { first, end })
    }

    /// The first offset and the end offset of each partition.
    ///
    /// # Errors
    /// If a leader does not respond.
    pub fn offsets(
        &self,
        topic: &str,
        partitions: &[i32],
    ) -> KafkaResult<BTreeMap<i32, OffsetRange>> {
        let first = self.list_offsets(topic, partitions, Offset::Beginning)?;
        let ends = self.list_offsets(topic, partitions, Offset::End)?;
        let offsets = ends.into_iter().filter_map(|(partition, end)| {
            let first = *first.get(&partition)?;
            Some((partition, OffsetRange { first, end }))
        });
        Ok(offsets.collect())
    }

    /// The end offset of each partition.
    ///
    /// # Errors
    /// If a leader does not respond.
    pub fn end_offsets(&self, topic: &str, partitions: &[i32]) -> KafkaResult<BTreeMap<i32, i64>> {
        self.list_offsets(topic, partitions, Offset::End)
    }

    /// The client, and what bounds each of its requests.
    pub(crate) fn client(&self) -> (&BaseConsumer<impl ConsumerContext + use<>>, Duration) {
        (&self.consumer, self.request_timeout)
    }

    /// The offset of a partition's first record with this timestamp or a later one, if there
    /// is such a record.
    ///
    /// # Errors
    /// If the partition's leader does not respond.
    pub fn offset_for_time(
        &self,
        topic: &str,
        partition: i32,
        time: Timestamp,
    ) -> KafkaResult<Option<i64>> {
        let timeout = self.request_timeout;
        offset_for_time(&self.consumer, topic, partition, time, timeout)
    }

    /// The offset that the configured `group.id` has committed of a partition.
    ///
    /// A reader of committed records requests stable offsets (KIP-447): the response waits
    /// for transactions that are pending on them.
    ///
    /// # Errors
    /// If the group's coordinator does not respond.
    pub fn committed_offset(
        &self,
        topic: &str,
        partition: i32,
    ) -> KafkaResult<Option<CommittedOffset>> {
        let mut committed = self.committed_offsets(topic, &[partition])?;
        Ok(committed.remove(&partition))
    }

    /// The offsets that the configured `group.id` has committed of these partitions, as
    /// [`committed_offset`](TopicReader::committed_offset).
    ///
    /// # Errors
    /// If the group's coordinator does not respond.
    pub fn committed_offsets(
        &self,
        topic: &str,
        partitions: &[i32],
    ) -> KafkaResult<BTreeMap<i32, CommittedOffset>> {
        let mut request = TopicPartitionList::new();
        for &partition in partitions {
            request.add_partition(topic, partition);
        }
        let response = self
            .consumer
            .committed_offsets(request, self.request_timeout)
            .map_err(|error| self.group_error().unwrap_or(error))?;
        let mut committed = BTreeMap::new();
        for element in response.elements_for_topic(topic) {
            element.error()?;
            if let Offset::Offset(offset) = element.offset() {
                let metadata = element.metadata().to_owned();
                committed.insert(element.partition(), CommittedOffset { offset, metadata });
            }
        }
        Ok(committed)
    }

    /// Reads these partitions from these offsets on, and no others.
    ///
    /// # Errors
    /// If librdkafka rejects an offset.
    pub fn assign<'t>(
        &self,
        positions: impl IntoIterator<Item = (&'t str, i32, Offset)>,
    ) -> KafkaResult<()> {
        let mut assignment = TopicPartitionList::new();
        let mut topics = BTreeSet::new();
        for (topic, partition, offset) in positions {
            assignment.add_partition_offset(topic, partition, offset)?;
            topics.insert(topic);
        }
        self.consumer.context().set_topics(&topics);
        self.consumer.assign(&assignment)
    }

    /// Stops reading.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn unassign(&self) -> KafkaResult<()> {
        self.consumer.unassign()
    }

    /// Stops fetching a partition.
    ///
    /// # Errors
    /// If the partition is not assigned.
    pub fn pause(&self, topic: &str, partition: i32) -> KafkaResult<()> {
        let mut paused = TopicPartitionList::new();
        paused.add_partition(topic, partition);
        self.consumer.pause(&paused)
    }

    /// Fetches all assigned partitions again. A partition stays paused across assignments.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn resume(&self) -> KafkaResult<()> {
        self.consumer.resume(&self.consumer.assignment()?)
    }

    /// The next offset to be read of each partition of a topic that has been read from.
    ///
    /// Positions advance past transaction markers, which are not returned as records.
    ///
    /// # Errors
    /// If librdkafka refuses.
    pub fn positions(&self, topic: &str) -> KafkaResult<Vec<(i32, i64)>> {
        let positions = self.consumer.position()?;
        let positions = positions.elements_for_topic(topic);
        let known = positions
            .iter()
            .filter_map(|element| match element.offset() {
                Offset::Offset(offset) => Some((element.partition(), offset)),
                _ => None,
            });
        Ok(known.collect())
    }

    /// The next record or end of a partition; `None` if there is none within `timeout`.
    ///
    /// Each error code is logged once until reading succeeds again. librdkafka recovers from most of
    /// them: the caller decides which are final. It also looks up the coordinator of the
    /// `group.id`, and reports that the user is not authorized to; that is no error of a
    /// reader that joins no group.
    ///
    /// # Errors
    /// Whatever librdkafka reports.
    pub fn poll(&self, timeout: Duration) -> KafkaResult<Option<Polled<'_>>> {
        let polled = match self.consumer.poll(timeout) {
            None => return Ok(None),
            Some(Ok(record)) => Polled::Record(record),
            Some(Err(KafkaError::PartitionEOF(partition))) => Polled::EndOfPartition(partition),
            Some(Err(error)) => {
                let code = error.rdkafka_error_code();
                return match code {
                    Some(RDKafkaErrorCode::GroupAuthorizationFailed) => Ok(None),
                    _ => Err(error),
                };
            }
        };
        self.consumer.context().clear_errors();
        Ok(Some(polled))
    }

    /// Returns why the group's coordinator did not respond, if librdkafka has reported that the client may
    /// not read the group: the request itself only times out.
    fn group_error(&self) -> Option<KafkaError> {
        let is_assigned = self.consumer.assignment().is_ok_and(|all| all.count() > 0);
        // A poll would drop a record.
        if is_assigned {
            return None;
        }
        let polled = self.consumer.poll(Duration::ZERO)?;
        let code = RDKafkaErrorCode::GroupAuthorizationFailed;
        let error = polled.err();
        error.filter(|error| error.rdkafka_error_code() == Some(code))
    }

    fn list_offsets(
        &self,
        topic: &str,
        partitions: &[i32],
        offset: Offset,
    ) -> KafkaResult<BTreeMap<i32, i64>> {
        let timeout = self.request_timeout;
        list_offsets(&self.consumer, topic, partitions, offset, timeout)
    }
}
