//! The policy topic, as the command line reads and writes it.

use std::time::Duration;

use anyhow::{Context, anyhow};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::kafka::args::GlobalArgs;
use crate::kafka::topic_feed::{TopicEvent, TopicFeed};
use crate::kafka::topics::{TopicAdmin, require};
use crate::output;
use crate::policy::document::SessionPolicy;
use crate::policy::record::encode;
use crate::policy::topic::PolicyState;

/// How long reading the topic, or writing a record, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The policy topic.
pub(crate) struct Store {
    config: ClientConfig,
    producer: ClientConfig,
    topic: String,
}

impl Store {
    pub(crate) fn new(global: &GlobalArgs) -> anyhow::Result<Self> {
        let mut producer = global.connection.producer_config()?;
        // Not idempotent: that costs librdkafka half a second at its start, and a record
        // that is written twice says the same twice.
        producer
            .set("acks", "all")
            .set("message.timeout.ms", PATIENCE.as_millis().to_string());
        Ok(Self {
            config: global.connection.client_config()?,
            producer,
            topic: global.topics.topics().policies,
        })
    }

    /// The policies in force. What in the topic cannot be used is told.
    ///
    /// # Errors
    /// If the topic is missing or cannot be read.
    pub(crate) async fn read(&self) -> anyhow::Result<PolicyState> {
        require(&TopicAdmin::new(&self.config)?, &[&self.topic]).await?;
        let stop = CancellationToken::new();
        let _stopped_at_the_end = stop.clone().drop_guard();
        let mut followed = TopicFeed::start(&self.config, &self.topic, stop)?;
        let mut book = PolicyState::default();
        let read = async {
            while let Some(TopicEvent::Record(record)) = followed.recv().await {
                if let Err(error) = book.read(record.key.as_deref(), record.value.as_deref()) {
                    let (topic, offset) = (&self.topic, record.offset);
                    output::note(format_args!(
                        "{topic}, offset {offset} is of no use: {error}"
                    ));
                }
            }
        };
        timeout(PATIENCE, read).await.with_context(|| {
            let seconds = PATIENCE.as_secs();
            format!(
                "{} could not be read to its end within {seconds} s: check that the brokers are up and that this user may read there",
                self.topic
            )
        })?;
        Ok(book)
    }

    /// Writes records, one after the other: a policy under its full name, or its end.
    ///
    /// # Errors
    /// If Kafka does not take one; those before it are written.
    pub(crate) async fn write(
        &self,
        records: impl IntoIterator<Item = (&str, Option<&SessionPolicy>)>,
    ) -> anyhow::Result<()> {
        let producer: FutureProducer = self.producer.create()?;
        for (name, document) in records {
            let value = document.map(encode);
            let mut record = FutureRecord::<str, str>::to(&self.topic).key(name);
            record.payload = value.as_deref();
            let written = producer.send(record, PATIENCE).await;
            written.map_err(|(error, _)| {
                anyhow!(
                    "policy '{name}' was not written to {}: {error}; check that the brokers are up and that this user may write there, then repeat the command",
                    self.topic
                )
            })?;
        }
        Ok(())
    }
}
