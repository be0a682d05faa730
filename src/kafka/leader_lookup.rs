//! Asks brokers which broker leads each partition.
//!
//! librdkafka sends a metadata request to the broker that the client used last. A client whose
//! partitions are all led by one broker therefore asks that broker alone, however often it asks. A
//! *witness* is a client that knows the address of one other broker, and asks only for metadata.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataBroker};

use super::leaders::{Asker, LeaderResponse};
use super::reader_config::reader_config;
use crate::clock::Clock;

/// Bounds one request to a witness's broker. A connection that takes longer is made meanwhile, and the next
/// request uses it.
const WITNESS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a witness may go without an answer before another broker is asked.
const MAX_WITNESS_SILENCE: Duration = Duration::from_secs(3);

/// Asks brokers for leaders, through the requester and through witnesses.
pub(crate) struct LeaderLookup {
    config: ClientConfig,
    clock: Clock,
    /// The addresses of the brokers by id, as the requester's broker listed them last.
    addresses: BTreeMap<i32, String>,
    /// At most two, of different brokers: one of them is other than any broker in question.
    witnesses: Vec<Witness>,
    /// Witnesses given up; each chooses another broker.
    given_up: usize,
}

struct Witness {
    broker: i32,
    address: String,
    client: BaseConsumer,
    /// Since when it has been without an answer that helps.
    silent_since: Option<Duration>,
}

/// Why a witness confirms nothing.
#[derive(Debug, thiserror::Error)]
enum NoWitness {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("the broker in question answered again")]
    SameBroker,
}

impl LeaderLookup {
    /// Witnesses have the configuration of the requester, but for their broker. They are created, and
    /// connect, when they are first needed.
    pub(crate) fn new(config: &ClientConfig, clock: Clock) -> Self {
        let mut config = reader_config(config, "sundown-leaders");
        // An alias of `bootstrap.servers`, which would compete with it.
        config.remove("metadata.broker.list");
        Self {
            config,
            clock,
            addresses: BTreeMap::new(),
            witnesses: Vec::new(),
            given_up: 0,
        }
    }

    /// Asks a broker for the leaders of `topic`: through `requester`, within its timeout, or through a
    /// witness; `None` if no witness has an answer so far.
    ///
    /// # Errors
    /// If the requester's broker does not answer, or the topic does not exist.
    pub(crate) fn ask<C: ConsumerContext>(
        &mut self,
        (requester, timeout): (&BaseConsumer<C>, Duration),
        topic: &str,
        asker: Asker,
    ) -> KafkaResult<Option<LeaderResponse>> {
        match asker {
            Asker::Requester => {
                let metadata = requester.fetch_metadata(Some(topic), timeout)?;
                let brokers = metadata.brokers().iter();
                self.addresses = brokers.map(|one| (one.id(), address(one))).collect();
                response(&metadata, metadata.orig_broker_id()).map(Some)
            }
            Asker::Witness { other_than } => Ok(self.ask_witness(topic, other_than)),
        }
    }

    fn ask_witness(&mut self, topic: &str, other_than: i32) -> Option<LeaderResponse> {
        let now = self.clock.elapsed();
        let addresses = &self.addresses;
        self.witnesses
            .retain(|witness| addresses.get(&witness.broker) == Some(&witness.address));
        let mut witness = self.take_witness(other_than)?;
        match witness.ask(topic, other_than) {
            Ok(response) => {
                witness.silent_since = None;
                self.witnesses.push(witness);
                Some(response)
            }
            Err(error) => {
                let since = *witness.silent_since.get_or_insert(now);
                if now.saturating_sub(since) < MAX_WITNESS_SILENCE {
                    self.witnesses.push(witness);
                } else {
                    self.given_up = self.given_up.wrapping_add(1);
                    let Witness { broker, .. } = witness;
                    tracing::warn!(topic, leader = other_than, broker, %error, "a broker does not confirm who leads a topic's partitions; asking another one, and no session of those partitions ends until one has answered");
                }
                None
            }
        }
    }

    /// Takes the witness of another broker, or creates one.
    fn take_witness(&mut self, other_than: i32) -> Option<Witness> {
        let mut witnesses = self.witnesses.iter();
        if let Some(index) = witnesses.position(|witness| witness.broker != other_than) {
            return Some(self.witnesses.swap_remove(index));
        }
        let (broker, address) = choose(&self.addresses, other_than, self.given_up)?;
        let mut config = self.config.clone();
        config.set("bootstrap.servers", address);
        match config.create() {
            Ok(client) => Some(Witness {
                broker,
                address: address.to_owned(),
                client,
                silent_since: None,
            }),
            Err(error) => {
                tracing::error!(%error, "cannot create a client that confirms leaders");
                None
            }
        }
    }
}

impl Witness {
    fn ask(&self, topic: &str, other_than: i32) -> Result<LeaderResponse, NoWitness> {
        let metadata = self.client.fetch_metadata(Some(topic), WITNESS_TIMEOUT)?;
        let answered_by = match metadata.orig_broker_id() {
            // librdkafka does not know whom it reaches at a bootstrap address; this one is a broker's own.
            unknown @ ..0 => {
                let mut brokers = metadata.brokers().iter();
                let own = brokers.find(|one| one.id() == self.broker);
                let is_own = own.is_some_and(|own| address(own) == self.address);
                if is_own { self.broker } else { unknown }
            }
            known => known,
        };
        if answered_by < 0 || answered_by == other_than {
            return Err(NoWitness::SameBroker);
        }
        Ok(response(&metadata, answered_by)?)
    }
}

/// Chooses a broker other than this one, and after each that was given up the next one.
fn choose(
    addresses: &BTreeMap<i32, String>,
    other_than: i32,
    given_up: usize,
) -> Option<(i32, &str)> {
    let others = addresses.iter().filter(|(id, _)| **id != other_than);
    let others: Vec<_> = others.collect();
    let index = given_up.checked_rem(others.len())?;
    let (id, address) = others.get(index)?;
    Some((**id, address.as_str()))
}

fn address(broker: &MetadataBroker) -> String {
    let (host, port) = (broker.host(), broker.port());
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn response(metadata: &Metadata, answered_by: i32) -> KafkaResult<LeaderResponse> {
    let unknown = || KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition);
    let topic = metadata.topics().first().ok_or_else(unknown)?;
    if let Some(error) = topic.error() {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    let named = topic.partitions().iter().map(|partition| {
        let leader = Some(partition.leader()).filter(|leader| *leader >= 0);
        (partition.id(), leader)
    });
    let leaders: Vec<_> = named.collect();
    if leaders.is_empty() {
        return Err(unknown());
    }
    Ok(LeaderResponse {
        answered_by,
        brokers: metadata.brokers().len(),
        leaders,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_other_brokers_is_chosen_in_turn() {
        let brokers = [(1, "a:1"), (2, "b:1"), (3, "c:1")];
        let addresses = brokers.map(|(id, address)| (id, address.to_owned()));
        let addresses = BTreeMap::from(addresses);
        let chosen = |other_than| {
            let of_attempt = |given_up| choose(&addresses, other_than, given_up).unwrap().0;
            [0, 1, 2, usize::MAX].map(of_attempt)
        };
        assert_eq!(chosen(2), [1, 3, 1, 3]);
        assert_eq!(chosen(9), [1, 2, 3, 1]);
        let only = BTreeMap::from([(1, "a:1".to_owned())]);
        assert_eq!(choose(&only, 1, 5), None);
        assert_eq!(choose(&BTreeMap::new(), 1, 0), None);
    }
}
