//! Looking at topics, making and deleting them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backon::{BlockingRetryable, ConstantBuilder};
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataBroker};

use super::catalogue::TopicSpec;
use super::error::TopicError;
use super::state::ExistingTopics;
use super::state::{self, ConfigValue, Offsets, TopicState};
use crate::kafka::errors::connection_failure;
use crate::kafka::list_offsets::watermarks;

/// How long one question may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long the cluster may take to create or delete topics.
const SETTLE_WITHIN: Duration = Duration::from_secs(60);
/// How often to look whether it has: nothing announces it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How many brokers are asked one after the other what any of them knows.
const MOST_ASKED: usize = 3;

/// Asks and tells a cluster about its topics.
#[derive(Clone)]
pub struct TopicAdmin {
    client: Arc<AdminClient<DefaultClientContext>>,
    config: ClientConfig,
}

impl TopicAdmin {
    /// A client of the cluster that `config` names; connects when it is first used.
    ///
    /// # Errors
    /// [`TopicError::Client`] if librdkafka does not accept the configuration.
    pub fn new(config: &ClientConfig) -> Result<Self, TopicError> {
        let client: AdminClient<_> = config.create().map_err(TopicError::Client)?;
        Ok(Self {
            client: Arc::new(client),
            config: config.clone(),
        })
    }

    /// Those of `names` that exist, and what they are like.
    ///
    /// # Errors
    /// [`TopicError::Unreachable`] if no broker answers in time.
    pub async fn existing(&self, names: &[&str]) -> Result<ExistingTopics, TopicError> {
        let metadata = self.metadata().await?;
        let mut found = select(&metadata, names);
        let asked: Vec<_> = found.keys().cloned().collect();
        for (name, configs) in self.configs(&asked, &someone(&metadata)).await? {
            if let Some(topic) = found.get_mut(&name) {
                topic.configs = Some(configs);
            }
        }
        Ok(found)
    }

    /// The offsets of every partition of a topic, in order.
    ///
    /// # Errors
    /// [`TopicError::Unreachable`] if a partition's leader does not answer in time.
    pub async fn offsets(&self, name: &str, partitions: i32) -> Result<Vec<Offsets>, TopicError> {
        self.offsets_within(ANSWER_WITHIN, name, partitions).await
    }

    /// The same, asked again for `within` while a partition moves.
    async fn offsets_within(
        &self,
        within: Duration,
        name: &str,
        partitions: i32,
    ) -> Result<Vec<Offsets>, TopicError> {
        let (client, name) = (Arc::clone(&self.client), name.to_owned());
        let ask = move |partition| {
            let ask = || watermarks(client.inner(), &name, partition, ANSWER_WITHIN);
            let (first, end) = ask
                .retry(patience(within))
                .sleep(std::thread::sleep)
                .when(active)
                .call()?;
            Ok(Offsets { first, end })
        };
        self.blocking(move || (0..partitions).map(ask).collect())
            .await
    }

    /// Sees whether there are brokers for that many replicas. They would say so themselves,
    /// but not before a topic is to be created.
    ///
    /// # Errors
    /// [`TopicError::TooFewBrokers`] or [`TopicError::Unreachable`].
    pub async fn require_brokers(&self, replicas: i32) -> Result<(), TopicError> {
        let brokers = self.metadata().await?.brokers().len();
        if usize::try_from(replicas).is_ok_and(|replicas| replicas > brokers) {
            return Err(TopicError::TooFewBrokers { brokers, replicas });
        }
        Ok(())
    }

    /// Creates topics and waits until they can be used. One that exists by now is left
    /// as it is. `replication` is the number of replicas, -1 for the brokers' default.
    ///
    /// # Errors
    /// [`TopicError::Refused`], [`TopicError::NotSettled`] or [`TopicError::Unreachable`].
    pub async fn create(&self, specs: &[&TopicSpec], replication: i32) -> Result<(), TopicError> {
        if specs.is_empty() {
            return Ok(());
        }
        let configs: Vec<Vec<_>> = specs
            .iter()
            .map(|spec| {
                spec.configs
                    .iter()
                    .map(|c| (c.key, c.setting.value()))
                    .collect()
            })
            .collect();
        let topics = specs.iter().zip(&configs).map(|(spec, configs)| {
            let replication = TopicReplication::Fixed(replication);
            let topic = NewTopic::new(&spec.name, spec.partitions, replication);
            configs
                .iter()
                .fold(topic, |topic, (key, value)| topic.set(key, value))
        });
        let topics: Vec<_> = topics.collect();
        let answer = self.client.create_topics(&topics, &options()).await;
        self.triage(answer, "created", RDKafkaErrorCode::TopicAlreadyExists)
            .await?;
        let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
        self.settle(&names, "created", |topic| {
            topic.is_some_and(TopicState::is_ready)
        })
        .await?;
        // The metadata names a partition's leader before that broker knows it is the one: with
        // many partitions and little else to spare, long before. One that somebody else has
        // created meanwhile may have another number of partitions.
        for (name, topic) in select(&self.metadata().await?, &names) {
            self.offsets_within(SETTLE_WITHIN, &name, topic.partition_count())
                .await?;
        }
        Ok(())
    }

    /// Deletes topics and waits until they are gone. One that is not there is fine.
    ///
    /// # Errors
    /// [`TopicError::Refused`], [`TopicError::NotSettled`] or [`TopicError::Unreachable`].
    pub async fn delete(&self, names: &[&str]) -> Result<(), TopicError> {
        if names.is_empty() {
            return Ok(());
        }
        let answer = self.client.delete_topics(names, &options()).await;
        self.triage(answer, "deleted", RDKafkaErrorCode::UnknownTopicOrPartition)
            .await?;
        self.settle(names, "deleted", |topic| topic.is_none()).await
    }

    /// RoundRobin the answer to a change into an error, unless every topic was changed or
    /// `accepted`.
    async fn triage(
        &self,
        answer: Result<Vec<TopicResult>, KafkaError>,
        what: &'static str,
        accepted: RDKafkaErrorCode,
    ) -> Result<(), TopicError> {
        let results = match answer {
            Ok(results) => results,
            Err(reason) => return Err(self.unreachable(reason).await),
        };
        for result in results {
            match result {
                Err((topic, code)) if code != accepted => {
                    return Err(TopicError::Refused { topic, what, code });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until all topics are as they should be after a change.
    async fn settle(
        &self,
        names: &[&str],
        what: &'static str,
        done: impl Fn(Option<&TopicState>) -> bool,
    ) -> Result<(), TopicError> {
        let mut waiting = names.to_vec();
        let settled = async {
            loop {
                let existing = select(&self.metadata().await?, names);
                waiting = names
                    .iter()
                    .copied()
                    .filter(|name| !done(existing.get(*name)))
                    .collect();
                if waiting.is_empty() {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if let Ok(result) = tokio::time::timeout(SETTLE_WITHIN, settled).await {
            return result;
        }
        Err(TopicError::NotSettled {
            names: waiting.into_iter().map(str::to_owned).collect(),
            what,
            seconds: SETTLE_WITHIN.as_secs(),
        })
    }

    /// All topics: to ask for one that is missing may create it.
    async fn metadata(&self) -> Result<Metadata, TopicError> {
        let client = Arc::clone(&self.client);
        self.blocking(move || client.inner().fetch_metadata(None, ANSWER_WITHIN))
            .await
    }

    /// The configuration of topics; of those only that the brokers tell about.
    async fn configs(
        &self,
        names: &[String],
        brokers: &[i32],
    ) -> Result<Vec<(String, BTreeMap<String, ConfigValue>)>, TopicError> {
        let asked: Vec<_> = names
            .iter()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        let mut trouble = None;
        for broker in brokers.iter().copied().filter(|_| !asked.is_empty()) {
            let options = AdminOptions::new()
                .request_timeout(Some(ANSWER_WITHIN))
                .broker_id(broker);
            match self.client.describe_configs(&asked, &options).await {
                Ok(answers) => {
                    // A user without the right gets an empty answer.
                    let mut told = answers.into_iter().flatten().collect::<Vec<_>>();
                    told.retain(|answer| !answer.entries.is_empty());
                    return Ok(told.into_iter().filter_map(state::configs).collect());
                }
                // Not every Kafka-compatible service knows the request.
                Err(KafkaError::AdminOp(RDKafkaErrorCode::UnsupportedFeature)) => break,
                Err(reason) => trouble = Some(reason),
            }
        }
        match trouble {
            Some(reason) => Err(self.unreachable(reason).await),
            None => Ok(Vec::new()),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, TopicError> {
        let answer = tokio::task::spawn_blocking(call).await;
        match answer.unwrap_or(Err(KafkaError::Canceled)) {
            Ok(answer) => Ok(answer),
            Err(reason) => Err(self.unreachable(reason).await),
        }
    }

    /// Finds out why, which blocks.
    async fn unreachable(&self, reason: KafkaError) -> TopicError {
        let config = self.config.clone();
        let why = tokio::task::spawn_blocking(move || connection_failure(&config)).await;
        TopicError::Unreachable {
            bootstrap: self
                .config
                .get("bootstrap.servers")
                .unwrap_or_default()
                .into(),
            reason,
            why: why.unwrap_or_default().into(),
        }
    }
}

/// How often to ask again, for so long.
fn patience(within: Duration) -> ConstantBuilder {
    let times = within.as_millis() / LOOK_EVERY.as_millis();
    ConstantBuilder::default()
        .with_delay(LOOK_EVERY)
        .with_max_times(usize::try_from(times).unwrap_or(usize::MAX))
}

/// Whether the error is of a partition that is new or on its way to another broker.
fn active(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                // What librdkafka itself says of a partition that it has not heard of.
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}

/// Those of `names` that exist, without their configuration.
fn select(metadata: &Metadata, names: &[&str]) -> ExistingTopics {
    let wanted = metadata.topics().iter().filter(|topic| {
        names.contains(&topic.name()) && topic.error().is_none() && !topic.partitions().is_empty()
    });
    wanted
        .map(|topic| (topic.name().to_owned(), TopicState::from(topic)))
        .collect()
}

/// Whom to ask what any broker knows: first the one that has just answered. Without a
/// name, the question would go to the controller, and not every service has one.
fn someone(metadata: &Metadata) -> Vec<i32> {
    let others = metadata.brokers().iter().map(MetadataBroker::id);
    let named = std::iter::once(metadata.orig_broker_id()).chain(others);
    named.filter(|id| *id >= 0).take(MOST_ASKED).collect()
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(SETTLE_WITHIN))
        .operation_timeout(Some(ANSWER_WITHIN))
}
