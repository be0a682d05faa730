//! Reading the policy topic: to its end for commands, continuously for roles.

use std::time::Duration;

use anyhow::{Context, anyhow};
use rdkafka::ClientConfig;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::health::{HELPER_TIMEOUT, Health, Heartbeat};
use crate::kafka::args::GlobalArgs;
use crate::kafka::topic_feed::{TopicEvent, TopicFeed, TopicRecord};
use crate::kafka::topics::{TopicAdmin, require};
use crate::policy::document::SessionPolicy;
use crate::policy::pauses::Pauses;
use crate::policy::record::encode;
use crate::policy::store::{PolicyStore, RecordRejection, StoreChange};
use crate::policy::writer::PolicyTopicWriter;

/// Bounds reading the topic to its end.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Bounds the delivery of one record.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// The policy topic, for commands.
pub struct PolicyTopic {
    config: ClientConfig,
    producer_config: ClientConfig,
    topic: String,
}

impl PolicyTopic {
    /// # Errors
    /// If the connection flags contradict each other.
    pub fn new(global: &GlobalArgs) -> anyhow::Result<Self> {
        Ok(Self {
            config: global.connection.client_config()?,
            producer_config: global.connection.producer_config()?,
            topic: global.topics.topics().policies,
        })
    }

    /// Reads the topic to its end, and calls `on_rejected` with a description of each record
    /// that the store rejects.
    ///
    /// # Errors
    /// If the topic does not exist or cannot be read.
    pub async fn read(&self, mut on_rejected: impl FnMut(String)) -> anyhow::Result<PolicyStore> {
        let mut store = PolicyStore::default();
        self.read_records(|record| {
            if let Err(rejection) = store.apply(record) {
                on_rejected(self.rejected(record, &rejection));
            }
        })
        .await?;
        Ok(store)
    }

    /// Describes a record that cannot be used.
    #[must_use]
    pub fn rejected(&self, record: &TopicRecord, rejection: &dyn std::fmt::Display) -> String {
        format!(
            "{}: ignored offset {}: {rejection}",
            self.topic, record.offset
        )
    }

    /// Reads the topic to its end: policies, pauses and sources.
    ///
    /// # Errors
    /// If the topic does not exist or cannot be read.
    pub async fn read_records(
        &self,
        mut on_record: impl FnMut(&TopicRecord),
    ) -> anyhow::Result<()> {
        let topic = &self.topic;
        require(&TopicAdmin::new(&self.config)?, &[topic]).await?;
        let stop = CancellationToken::new();
        let _stop_on_return = stop.clone().drop_guard();
        let mut feed = TopicFeed::start(&self.config, topic, &Health::default(), stop)?;
        let read = async {
            while let Some(TopicEvent::Record(record)) = feed.recv().await {
                on_record(&record);
            }
        };
        timeout(READ_TIMEOUT, read).await.with_context(|| {
            let seconds = READ_TIMEOUT.as_secs();
            format!("cannot read {topic} to its end within {seconds} s: check that the brokers are up and that this user is authorized to read the topic")
        })
    }

    /// Writes policies in this order, each under its full name; `None` deletes a policy.
    ///
    /// # Errors
    /// If a record is not acknowledged. Those before it have been written.
    pub async fn write(
        &self,
        policies: impl IntoIterator<Item = (&str, Option<&SessionPolicy>)>,
    ) -> anyhow::Result<()> {
        let records = policies.into_iter();
        self.write_records(records.map(|(name, document)| (name, document.map(encode))))
            .await
    }

    /// Writes records in this order; `None` is a tombstone.
    ///
    /// # Errors
    /// If a record is not acknowledged. Those before it have been written.
    pub async fn write_records(
        &self,
        records: impl IntoIterator<Item = (impl AsRef<str>, Option<String>)>,
    ) -> anyhow::Result<()> {
        let config = self.producer_config.clone();
        let writer = PolicyTopicWriter::for_user(config, &self.topic, DELIVERY_TIMEOUT)?;
        for (key, value) in records {
            let key = key.as_ref();
            let written = writer.write_record(key, value.as_deref()).await;
            written.map_err(|error| {
                anyhow!("'{key}' was not written: {error}, then repeat the command")
            })?;
        }
        Ok(())
    }
}

/// What [`watch`] reports.
#[derive(Debug)]
pub enum PolicyUpdate<'a> {
    /// The policies of this store are active. Reported once the topic has been read to its
    /// end, then after each change.
    Policies(&'a PolicyStore),
    /// These partitions are paused. Reported before the policies once the topic has been read
    /// to its end, then after each change.
    Pauses(&'a Pauses),
    /// A record was rejected and logged; the active policy is unchanged.
    Rejected,
}

/// Reads `topic` on a thread until `stop`, and calls `on_update` with the changes, on that thread.
///
/// # Errors
/// If librdkafka rejects the configuration, or the thread cannot be started.
pub fn watch(
    config: &ClientConfig,
    topic: &str,
    health: &Health,
    stop: CancellationToken,
    mut on_update: impl FnMut(PolicyUpdate<'_>) + Send + 'static,
) -> anyhow::Result<()> {
    let mut feed = TopicFeed::open(config, topic, stop)?;
    let watch = move |heartbeat: Heartbeat| {
        let mut watch = PolicyWatch::default();
        let mut events = Vec::new();
        while feed.read(&mut events) {
            heartbeat.beat();
            watch.apply(events.drain(..), &mut on_update);
        }
    };
    health.spawn(&format!("reader of {topic}"), HELPER_TIMEOUT, watch)?;
    Ok(())
}

/// Turns the records of the topic into updates.
#[derive(Default)]
struct PolicyWatch {
    store: PolicyStore,
    caught_up: bool,
}

impl PolicyWatch {
    /// Applies events that have arrived together, which become one update.
    fn apply(
        &mut self,
        events: impl Iterator<Item = TopicEvent>,
        on_update: &mut impl FnMut(PolicyUpdate<'_>),
    ) {
        let (mut policies, mut pauses) = (false, false);
        for event in events {
            match event {
                TopicEvent::CaughtUp => (self.caught_up, policies, pauses) = (true, true, true),
                TopicEvent::Record(record) => match apply_or_log(&mut self.store, &record) {
                    Ok(StoreChange::Policies) => policies = true,
                    Ok(StoreChange::Pauses) => pauses = true,
                    Ok(StoreChange::Nothing) => {}
                    Err(_) => on_update(PolicyUpdate::Rejected),
                },
            }
        }
        if self.caught_up && pauses {
            on_update(PolicyUpdate::Pauses(self.store.pauses()));
        }
        if self.caught_up && policies {
            on_update(PolicyUpdate::Policies(&self.store));
        }
    }
}

fn apply_or_log(
    store: &mut PolicyStore,
    record: &TopicRecord,
) -> Result<StoreChange, RecordRejection> {
    store.apply(record).inspect_err(|error| {
        let offset = record.offset;
        tracing::error!(%error, offset, "rejected a policy record; the active policy is unchanged");
    })
}
