//! Withdraws what was stated about the topics of deleted sources.
//!
//! Trackers end no session later than the least statement about any source topic, so a statement
//! about a topic that no process reads any more would hold them for good. The statements are read
//! first and the sources afterwards: a source that is missing then was deleted after its
//! statement was written, or never applied.

use std::collections::BTreeSet;
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
use crate::source::topic::PublishedSources;
use crate::wire::watermark::WatermarkRecord;

/// Bounds reading the statements to the end of their topic.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Withdraws statements of ingest processes with the same group prefix.
pub struct Withdrawal {
    sources: PublishedSources,
    config: ClientConfig,
    producer: RecreatingProducer,
    topic: String,
    group_prefix: String,
}

impl Withdrawal {
    /// Connects when it is first used.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub fn new(global: &GlobalArgs, group: &str) -> anyhow::Result<Self> {
        let mut producer = global.connection.producer_config()?;
        producer.set("acks", "all");
        Ok(Self {
            sources: PublishedSources::new(global)?,
            config: global.connection.client_config()?,
            producer: RecreatingProducer::new(producer)?,
            topic: global.topics.topics().watermarks,
            group_prefix: global.topics.prefixed(group),
        })
    }

    /// Withdraws the statements about topics that no source of the policy topic has.
    ///
    /// # Errors
    /// If a topic cannot be read, or a record is not acknowledged.
    pub async fn run(&self) -> anyhow::Result<()> {
        let stated = self.stated().await?;
        if stated.is_empty() {
            return Ok(());
        }
        let store = self.sources.read(|_rejected| {}).await?;
        let sources = store.documents();
        let read: BTreeSet<&str> = sources
            .flat_map(|(_, document)| document.spec.topics.iter().map(String::as_str))
            .collect();
        for (key, topic) in stated {
            if read.contains(topic.as_str()) {
                continue;
            }
            let record = FutureRecord::<str, str>::to(&self.topic)
                .key(&key)
                .partition(PARTITION);
            let sent = self.producer.send(record, Duration::ZERO).await;
            sent.map_err(|error| anyhow::anyhow!("{}", WithHint(&error)))
                .with_context(|| format!("cannot write to {}", self.topic))?;
            tracing::info!(
                key,
                topic,
                "withdrew a watermark: no source reads the topic"
            );
        }
        Ok(())
    }

    /// The keys of statements of this group prefix, each with its topic.
    async fn stated(&self) -> anyhow::Result<BTreeSet<(String, String)>> {
        let stop = CancellationToken::new();
        let _stop_on_return = stop.clone().drop_guard();
        let mut feed = TopicFeed::start(&self.config, &self.topic, &Health::default(), stop)?;
        let mut stated = BTreeSet::new();
        let read = async {
            while let Some(TopicEvent::Record(record)) = feed.recv().await {
                let Some(key) = record.key.and_then(|key| String::from_utf8(key).ok()) else {
                    continue;
                };
                stated.retain(|(known, _)| *known != key);
                let decoded = record.value.map(|value| WatermarkRecord::decode(&value));
                if let Some(Ok(record)) = decoded
                    && let [watermark] = record.watermarks.as_slice()
                {
                    let group = format!("{}.{}", self.group_prefix, watermark.topic);
                    if key == watermark_key(&group, watermark.partition) {
                        stated.insert((key, watermark.topic.clone()));
                    }
                }
            }
        };
        tokio::time::timeout(READ_TIMEOUT, read)
            .await
            .with_context(|| format!("cannot read {} to its end", self.topic))?;
        Ok(stated)
    }
}
