//! What ingest processes have stated about topics, in the topic of watermarks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context;
use rdkafka::ClientConfig;
use rdkafka::producer::FutureRecord;
use tokio_util::sync::CancellationToken;

use super::committer::watermark_key;
use crate::health::Health;
use crate::kafka::args::GlobalArgs;
use crate::kafka::errors::WithHint;
use crate::kafka::recreating_producer::RecreatingProducer;
use crate::kafka::topic_feed::{TopicEvent, TopicFeed};
use crate::kafka::upstream::PARTITION;
use crate::session::Timestamp;
use crate::wire::watermark::{Watermark, WatermarkRecord};

/// A partition of a source topic that something is stated about.
pub type StatedPartition = (String, i32);

/// Bounds reading the statements to the end of their topic.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads and writes statements of ingest processes with the same group prefix.
pub struct IngestStatements {
    config: ClientConfig,
    producer: RecreatingProducer,
    topic: String,
    group_prefix: String,
}

impl IngestStatements {
    /// Connects when it is first used.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn new(global: &GlobalArgs, group: &str) -> anyhow::Result<Self> {
        let mut producer = global.connection.producer_config()?;
        producer.set("acks", "all");
        Ok(Self {
            config: global.connection.client_config()?,
            producer: RecreatingProducer::new(producer)?,
            topic: global.topics.topics().watermarks,
            group_prefix: global.topics.prefixed(group),
        })
    }

    /// The partitions that something is stated about.
    ///
    /// # Errors
    /// If the topic of watermarks cannot be read.
    pub async fn read(&self) -> anyhow::Result<BTreeSet<StatedPartition>> {
        let stop = CancellationToken::new();
        let _stop_on_return = stop.clone().drop_guard();
        let mut feed = TopicFeed::start(&self.config, &self.topic, &Health::default(), stop)?;
        let mut stated = BTreeMap::new();
        let read = async {
            while let Some(TopicEvent::Record(record)) = feed.recv().await {
                let Some(key) = record.key.and_then(|key| String::from_utf8(key).ok()) else {
                    continue;
                };
                stated.remove(&key);
                let decoded = record.value.map(|value| WatermarkRecord::decode(&value));
                if let Some(Ok(record)) = decoded
                    && let [watermark] = record.watermarks.as_slice()
                    && key == self.key(&watermark.topic, watermark.partition)
                {
                    stated.insert(key, (watermark.topic.clone(), watermark.partition));
                }
            }
        };
        tokio::time::timeout(READ_TIMEOUT, read)
            .await
            .with_context(|| format!("cannot read {} to its end", self.topic))?;
        Ok(stated.into_values().collect())
    }

    /// Withdraws the statement about a partition.
    ///
    /// # Errors
    /// If the record is not acknowledged.
    pub async fn withdraw(&self, (topic, partition): &StatedPartition) -> anyhow::Result<()> {
        self.write(&self.key(topic, *partition), None).await
    }

    /// States that nothing of these partitions has been forwarded, unless something has been
    /// stated about them: it holds endings until a process reads them.
    ///
    /// # Errors
    /// If the topic of watermarks cannot be read or written.
    pub async fn hold(
        &self,
        partitions: impl IntoIterator<Item = StatedPartition>,
    ) -> anyhow::Result<()> {
        let stated = self.read().await?;
        let partitions = partitions.into_iter();
        for (topic, partition) in partitions.filter(|partition| !stated.contains(partition)) {
            let key = self.key(&topic, partition);
            let watermark = Watermark {
                topic,
                partition,
                until: Timestamp::from_millis(0),
            };
            let record = WatermarkRecord {
                routing: None,
                watermarks: vec![watermark],
            };
            self.write(&key, Some(&record.encode())).await?;
        }
        Ok(())
    }

    fn key(&self, topic: &str, partition: i32) -> String {
        watermark_key(&format!("{}.{topic}", self.group_prefix), partition)
    }

    async fn write(&self, key: &str, value: Option<&[u8]>) -> anyhow::Result<()> {
        let mut record = FutureRecord::<str, [u8]>::to(&self.topic)
            .key(key)
            .partition(PARTITION);
        if let Some(value) = value {
            record = record.payload(value);
        }
        let sent = self.producer.send(record, Duration::ZERO).await;
        sent.map(drop)
            .map_err(|error| anyhow::anyhow!("{}", WithHint(&error)))
            .with_context(|| format!("cannot write to {}", self.topic))
    }
}
