//! End offsets of Kafka's topics, with their proof.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};

use super::leader_lookup::LeaderLookup;
use super::leaders::{Asker, LeaderResponse};
use super::list_offsets::list_led_ends;
use super::proven_ends::{EndOffsetClient, EndOffsets, ProvenEnds};
use super::topic_ids::{TopicId, TopicIds};
use super::upstream::UpstreamReader;
use crate::clock::{Clock, Reading};
use crate::wire::watermark::Upstream;

/// Lists end offsets with their proof.
pub(crate) struct EndProof {
    ends: ProvenEnds,
    leaders: LeaderLookup,
    /// `None` where the topic id does not matter.
    topic_ids: Option<TopicIds>,
    /// `None` for a topic that no process forwards to.
    upstream: Option<UpstreamReader>,
    clock: Clock,
}

impl EndProof {
    /// A proof that includes the topic id, and what `upstream` reads before.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub(super) fn of_topic(
        config: &ClientConfig,
        upstream: Option<UpstreamReader>,
        clock: Clock,
    ) -> KafkaResult<Self> {
        Ok(Self {
            topic_ids: Some(TopicIds::new(config)?),
            upstream,
            ..Self::of_leaders(config, clock)
        })
    }

    /// A proof that the brokers that answer lead their partitions.
    pub(crate) fn of_leaders(config: &ClientConfig, clock: Clock) -> Self {
        Self {
            ends: ProvenEnds::default(),
            leaders: LeaderLookup::new(config, clock),
            topic_ids: None,
            upstream: None,
            clock,
        }
    }

    /// Forgets the leaders, of which `client` may have learned since.
    pub(crate) fn forget_leaders(&mut self) {
        self.ends = ProvenEnds::default();
    }

    /// Replaces the clients other than the one that lists.
    ///
    /// # Errors
    /// If librdkafka rejects the configuration.
    pub(super) fn recreate(&mut self, config: &ClientConfig) -> KafkaResult<()> {
        if let Some(topic_ids) = &mut self.topic_ids {
            *topic_ids = TopicIds::new(config)?;
        }
        self.upstream
            .as_mut()
            .map_or(Ok(()), UpstreamReader::recreate)
    }

    /// Lists the end offsets of those of `partitions` whose leader is certain, at the isolation level of
    /// `client`: none the first time. Each request may take `timeout`.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub(crate) fn list<C: ConsumerContext>(
        &mut self,
        client: (&BaseConsumer<C>, Duration),
        topic: &str,
        partitions: &[i32],
    ) -> KafkaResult<EndOffsets> {
        let mut requests = Requests {
            client,
            topic,
            leaders: &mut self.leaders,
            topic_ids: self.topic_ids.as_ref(),
            upstream: self.upstream.as_mut(),
            clock: self.clock,
        };
        self.ends.list(&mut requests, partitions)
    }
}

/// The requests of one listing.
struct Requests<'a, C: ConsumerContext> {
    client: (&'a BaseConsumer<C>, Duration),
    topic: &'a str,
    leaders: &'a mut LeaderLookup,
    topic_ids: Option<&'a TopicIds>,
    upstream: Option<&'a mut UpstreamReader>,
    clock: Clock,
}

impl<C: ConsumerContext> EndOffsetClient for Requests<'_, C> {
    type Error = KafkaError;

    fn reading(&mut self) -> Reading {
        self.clock.reading()
    }

    fn upstream(&mut self) -> KafkaResult<Upstream> {
        let upstream = self.upstream.as_mut();
        upstream.map_or_else(
            || Ok(Upstream::default()),
            |upstream| upstream.read_to_end(),
        )
    }

    fn list_ends(&mut self, partitions: &[i32]) -> KafkaResult<BTreeMap<i32, i64>> {
        let (client, timeout) = self.client;
        list_led_ends(client, self.topic, partitions, timeout)
    }

    fn metadata(&mut self, asker: Asker) -> KafkaResult<Option<LeaderResponse>> {
        self.leaders.ask(self.client, self.topic, asker)
    }

    fn topic_id(&mut self) -> KafkaResult<Option<TopicId>> {
        let Some(topic_ids) = self.topic_ids else {
            return Ok(None);
        };
        let (_, timeout) = self.client;
        let [id] = topic_ids.fetch([self.topic], timeout)?;
        Ok(id)
    }
}
