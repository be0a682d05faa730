//! Describes, creates and deletes topics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BlockingRetryable, ConstantBuilder};
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
    TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataBroker};

use super::catalogue::TopicSpec;
use super::error::TopicError;
use super::state::ExistingTopics;
use super::state::{self, ConfigValue, OffsetRange, TopicState};
use crate::clock::Clock;
use crate::kafka::errors::connection_failure;
use crate::kafka::list_offsets::watermarks;
use crate::kafka::recreating_client::RecreatingClient;

/// Bounds one request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bounds the creation or deletion of topics.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Interval at which the progress of a change is polled.
const CHANGE_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Bounds the brokers that are tried for a request that any of them can serve.
const MAX_BROKERS_TRIED: usize = 3;

type SharedClient = Arc<AdminClient<DefaultClientContext>>;

/// Administers the topics of a cluster.
#[derive(Clone)]
pub struct TopicAdmin {
    client: Arc<Mutex<RecreatingClient<SharedClient>>>,
    config: ClientConfig,
}

impl TopicAdmin {
    /// Creates a client, which connects when it is first used.
    ///
    /// # Errors
    /// [`TopicError::Client`] if librdkafka rejects the configuration.
    pub fn new(config: &ClientConfig) -> Result<Self, TopicError> {
        let own = config.clone();
        let create = move || own.create().map(Arc::new);
        let client = RecreatingClient::new(Clock::default(), create).map_err(TopicError::Client)?;
        Ok(Self {
            client: Arc::new(Mutex::new(client)),
            config: config.clone(),
        })
    }

    /// Describes those of `names` that exist.
    ///
    /// # Errors
    /// [`TopicError::Unreachable`] if no broker responds in time.
    pub async fn existing(&self, names: &[&str]) -> Result<ExistingTopics, TopicError> {
        let metadata = self.metadata().await?;
        let mut found = select(&metadata, names);
        let found_names: Vec<_> = found.keys().cloned().collect();
        for (name, configs) in self.configs(&found_names, &brokers(&metadata)).await? {
            if let Some(topic) = found.get_mut(&name) {
                topic.configs = Some(configs);
            }
        }
        Ok(found)
    }

    /// The offsets of every partition of a topic, in order of their numbers.
    ///
    /// # Errors
    /// [`TopicError::Unreachable`] if a partition's leader does not respond in time.
    pub async fn offsets(
        &self,
        name: &str,
        partitions: i32,
    ) -> Result<Vec<OffsetRange>, TopicError> {
        self.offsets_within(REQUEST_TIMEOUT, name, partitions).await
    }

    /// The same, retried for `timeout` while a partition has no known leader.
    async fn offsets_within(
        &self,
        timeout: Duration,
        name: &str,
        partitions: i32,
    ) -> Result<Vec<OffsetRange>, TopicError> {
        let (client, name) = (self.client(), name.to_owned());
        let list = move |partition| {
            let request = || watermarks(client.inner(), &name, partition, REQUEST_TIMEOUT);
            let (first, end) = request
                .retry(retries(timeout))
                .sleep(std::thread::sleep)
                .when(is_electing)
                .call()?;
            Ok(OffsetRange { first, end })
        };
        self.blocking(move || (0..partitions).map(list).collect())
            .await
    }

    /// Checks that there are enough brokers for that many replicas, before any topic is
    /// created.
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

    /// Creates topics and waits until they are ready. A topic that exists already is left
    /// unchanged. `replication` is the number of replicas, -1 for the brokers' default.
    ///
    /// # Errors
    /// [`TopicError::Refused`], [`TopicError::TimedOut`] or [`TopicError::Unreachable`].
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
        let response = self.client().create_topics(&topics, &options()).await;
        self.check_results(response, "created", RDKafkaErrorCode::TopicAlreadyExists)
            .await?;
        let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
        self.wait_until_changed(&names, "created", |topic| {
            topic.is_some_and(TopicState::is_ready)
        })
        .await?;
        // Metadata names a leader before that broker has taken over: on a busy cluster with
        // many partitions, long before. A topic that another client has created in the
        // meantime may have another number of partitions.
        for (name, topic) in select(&self.metadata().await?, &names) {
            self.offsets_within(CHANGE_TIMEOUT, &name, topic.partition_count())
                .await?;
        }
        Ok(())
    }

    /// Adds partitions to a topic, so that it has `count`, and waits until they are ready.
    ///
    /// # Errors
    /// [`TopicError::Refused`], [`TopicError::TimedOut`] or [`TopicError::Unreachable`].
    pub async fn grow(&self, name: &str, count: i32) -> Result<(), TopicError> {
        let partitions = NewPartitions::new(name, usize::try_from(count).unwrap_or_default());
        let response = self
            .client()
            .create_partitions(&[partitions], &options())
            .await;
        self.check_results(response, "extended", RDKafkaErrorCode::NoError)
            .await?;
        self.wait_until_changed(&[name], "extended", |topic| {
            topic.is_some_and(|topic| topic.partition_count() >= count && topic.is_ready())
        })
        .await?;
        self.offsets_within(CHANGE_TIMEOUT, name, count).await?;
        Ok(())
    }

    /// Deletes topics and waits until they are gone. Topics that do not exist are skipped.
    ///
    /// # Errors
    /// [`TopicError::Refused`], [`TopicError::TimedOut`] or [`TopicError::Unreachable`].
    pub async fn delete(&self, names: &[&str]) -> Result<(), TopicError> {
        if names.is_empty() {
            return Ok(());
        }
        let response = self.client().delete_topics(names, &options()).await;
        self.check_results(
            response,
            "deleted",
            RDKafkaErrorCode::UnknownTopicOrPartition,
        )
        .await?;
        self.wait_until_changed(names, "deleted", |topic| topic.is_none())
            .await
    }

    /// Fails unless every topic was changed or failed with the code `accepted`.
    async fn check_results(
        &self,
        response: Result<Vec<TopicResult>, KafkaError>,
        change: &'static str,
        accepted: RDKafkaErrorCode,
    ) -> Result<(), TopicError> {
        let results = match response {
            Ok(results) => results,
            Err(reason) => return Err(self.unreachable(reason).await),
        };
        for result in results {
            match result {
                Err((topic, code)) if code != accepted => {
                    return Err(TopicError::Refused {
                        topic,
                        change,
                        code,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Waits until all topics are `done` after a change.
    async fn wait_until_changed(
        &self,
        names: &[&str],
        change: &'static str,
        done: impl Fn(Option<&TopicState>) -> bool,
    ) -> Result<(), TopicError> {
        let mut pending = names.to_vec();
        let changed = async {
            loop {
                let existing = select(&self.metadata().await?, names);
                pending = names
                    .iter()
                    .copied()
                    .filter(|name| !done(existing.get(*name)))
                    .collect();
                if pending.is_empty() {
                    return Ok(());
                }
                tokio::time::sleep(CHANGE_POLL_INTERVAL).await;
            }
        };
        if let Ok(result) = tokio::time::timeout(CHANGE_TIMEOUT, changed).await {
            return result;
        }
        Err(TopicError::TimedOut {
            names: pending.into_iter().map(str::to_owned).collect(),
            change,
            seconds: CHANGE_TIMEOUT.as_secs(),
        })
    }

    /// The metadata of all topics: a request for a missing topic may create it.
    pub(super) async fn metadata(&self) -> Result<Metadata, TopicError> {
        let client = self.client();
        self.blocking(move || client.inner().fetch_metadata(None, REQUEST_TIMEOUT))
            .await
    }

    /// Connects to a few of the brokers, as far as they can be reached: librdkafka asks for metadata
    /// those that it is connected to, which may be one only.
    pub(super) async fn connect_to_brokers(&self, metadata: &Metadata) {
        for broker in brokers(metadata) {
            let options = AdminOptions::new()
                .request_timeout(Some(REQUEST_TIMEOUT))
                .broker_id(broker);
            let resource = ResourceSpecifier::Broker(broker);
            let _refused_or_unreachable =
                self.client().describe_configs([&resource], &options).await;
        }
    }

    /// The properties of topics, without those that the user may not describe.
    async fn configs(
        &self,
        names: &[String],
        brokers: &[i32],
    ) -> Result<Vec<(String, BTreeMap<String, ConfigValue>)>, TopicError> {
        let resources: Vec<_> = names
            .iter()
            .map(|name| ResourceSpecifier::Topic(name))
            .collect();
        let mut last_error = None;
        for broker in brokers.iter().copied().filter(|_| !resources.is_empty()) {
            let options = AdminOptions::new()
                .request_timeout(Some(REQUEST_TIMEOUT))
                .broker_id(broker);
            match self.client().describe_configs(&resources, &options).await {
                Ok(results) => {
                    // Without the permission, the entries are empty.
                    let mut described = results.into_iter().flatten().collect::<Vec<_>>();
                    described.retain(|resource| !resource.entries.is_empty());
                    return Ok(described.into_iter().filter_map(state::configs).collect());
                }
                // Some Kafka-compatible services do not support the request.
                Err(KafkaError::AdminOp(RDKafkaErrorCode::UnsupportedFeature)) => break,
                Err(reason) => last_error = Some(reason),
            }
        }
        match last_error {
            Some(reason) => Err(self.unreachable(reason).await),
            None => Ok(Vec::new()),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, TopicError> {
        let result = tokio::task::spawn_blocking(call).await;
        let result = result.unwrap_or(Err(KafkaError::Canceled));
        self.recreating().observe(&result);
        match result {
            Ok(value) => Ok(value),
            Err(reason) => Err(self.unreachable(reason).await),
        }
    }

    fn client(&self) -> SharedClient {
        Arc::clone(self.recreating().client())
    }

    fn recreating(&self) -> MutexGuard<'_, RecreatingClient<SharedClient>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects once more to find the reason.
    async fn unreachable(&self, reason: KafkaError) -> TopicError {
        let config = self.config.clone();
        let hint = tokio::task::spawn_blocking(move || connection_failure(&config)).await;
        TopicError::Unreachable {
            bootstrap: self
                .config
                .get("bootstrap.servers")
                .unwrap_or_default()
                .into(),
            reason,
            hint: hint.unwrap_or_default().into(),
        }
    }
}

/// Retries at a constant interval for this long.
fn retries(timeout: Duration) -> ConstantBuilder {
    let times = timeout.as_millis() / CHANGE_POLL_INTERVAL.as_millis();
    ConstantBuilder::default()
        .with_delay(CHANGE_POLL_INTERVAL)
        .with_max_times(usize::try_from(times).unwrap_or(usize::MAX))
}

/// Whether the error is of a new partition or of one whose leader changes.
fn is_electing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::UnknownTopicOrPartition
                // librdkafka's own code for a partition that its metadata does not have.
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}

/// Those of `names` that exist, without their configuration.
fn select(metadata: &Metadata, names: &[&str]) -> ExistingTopics {
    let existing = metadata.topics().iter().filter(|topic| {
        names.contains(&topic.name()) && topic.error().is_none() && !topic.partitions().is_empty()
    });
    existing
        .map(|topic| (topic.name().to_owned(), TopicState::from(topic)))
        .collect()
}

/// Brokers for a request that any of them can serve, the one that has just responded first.
/// Without a broker id, librdkafka sends the request to the controller, which some services do
/// not have.
fn brokers(metadata: &Metadata) -> Vec<i32> {
    let others = metadata.brokers().iter().map(MetadataBroker::id);
    let known = std::iter::once(metadata.orig_broker_id()).chain(others);
    known
        .filter(|id| *id >= 0)
        .take(MAX_BROKERS_TRIED)
        .collect()
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(CHANGE_TIMEOUT))
        .operation_timeout(Some(REQUEST_TIMEOUT))
}
