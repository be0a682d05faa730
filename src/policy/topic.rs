//! Reading the policy topic: to its end for commands, continuously for roles.

use std::time::Duration;
use std::{io, thread};

use anyhow::{Context, anyhow};
use rdkafka::ClientConfig;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

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
        let topic = &self.topic;
        require(&TopicAdmin::new(&self.config)?, &[topic]).await?;
        let stop = CancellationToken::new();
        let _stop_on_return = stop.clone().drop_guard();
        let mut feed = TopicFeed::start(&self.config, topic, stop)?;
        let mut store = PolicyStore::default();
        let read = async {
            while let Some(TopicEvent::Record(record)) = feed.recv().await {
                if let Err(rejection) = store.apply(&record) {
                    let offset = record.offset;
                    on_rejected(format!("{topic}: ignored offset {offset}: {rejection}"));
                }
            }
        };
        timeout(READ_TIMEOUT, read).await.with_context(|| {
            let seconds = READ_TIMEOUT.as_secs();
            format!("cannot read {topic} to its end within {seconds} s: check that the brokers are up and that this user is authorized to read the topic")
        })?;
        Ok(store)
    }

    /// Writes policies in this order, each under its full name; `None` deletes a policy.
    ///
    /// # Errors
    /// If a record is not acknowledged. Those before it have been written.
    pub async fn write(
        &self,
        policies: impl IntoIterator<Item = (&str, Option<&SessionPolicy>)>,
    ) -> anyhow::Result<()> {
        let config = self.producer_config.clone();
        let writer = PolicyTopicWriter::for_user(config, &self.topic, DELIVERY_TIMEOUT)?;
        for (name, document) in policies {
            let value = document.map(encode);
            let written = writer.write_policy(name, value.as_deref()).await;
            written.map_err(|error| {
                anyhow!("policy '{name}' was not written: {error}, then repeat the command")
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

/// Applies the records of a feed on a thread and calls `on_update` with the changes, until the
/// feed ends.
///
/// # Errors
/// If the thread cannot be started.
pub fn watch(
    mut feed: Receiver<TopicEvent>,
    mut on_update: impl FnMut(PolicyUpdate<'_>) + Send + 'static,
) -> io::Result<()> {
    let watch = move || {
        let mut store = PolicyStore::default();
        let mut caught_up = false;
        while let Some(first) = feed.blocking_recv() {
            let (mut policies, mut pauses) = (false, false);
            // Pending records become one update.
            let mut next = Some(first);
            while let Some(event) = next {
                match event {
                    TopicEvent::CaughtUp => (caught_up, policies, pauses) = (true, true, true),
                    TopicEvent::Record(record) => match apply_or_log(&mut store, &record) {
                        Ok(StoreChange::Policies) => policies = true,
                        Ok(StoreChange::Pauses) => pauses = true,
                        Ok(StoreChange::Nothing) => {}
                        Err(_) => on_update(PolicyUpdate::Rejected),
                    },
                }
                next = feed.try_recv().ok();
            }
            if caught_up && pauses {
                on_update(PolicyUpdate::Pauses(store.pauses()));
            }
            if caught_up && policies {
                let policies = store.policies().len();
                tracing::info!(policies, "active policies changed");
                on_update(PolicyUpdate::Policies(&store));
            }
        }
    };
    thread::Builder::new()
        .name("policy-topic".to_owned())
        .spawn(watch)?;
    Ok(())
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
