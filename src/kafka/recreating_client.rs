//! Clients that ask, and that are replaced when no broker has answered them for a while.
//!
//! A client may never connect again after all brokers were away, while others do. Every client that
//! lives as long as its process is covered: those that ask by a [`RecreatingClient`], readers of
//! topics by their [`TopicFeed`](super::topic_feed::TopicFeed), members of groups by
//! [`SilentMember`](super::group::SilentMember), and producers as the module
//! [`recreating_producer`](super::recreating_producer) describes.

use rdkafka::error::KafkaResult;

use super::recreating_producer::{SilenceTimer, recreate};
use crate::clock::Clock;

/// A client that is replaced after [`MAX_SILENCE`](super::recreating_producer::MAX_SILENCE) without
/// an answer.
pub struct RecreatingClient<C> {
    client: C,
    create: Box<dyn Fn() -> KafkaResult<C> + Send>,
    silence: SilenceTimer,
}

impl<C> RecreatingClient<C> {
    /// Creates a client by `create`, which also makes those that replace it.
    ///
    /// # Errors
    /// Those of `create`.
    pub fn new(
        clock: Clock,
        create: impl Fn() -> KafkaResult<C> + Send + 'static,
    ) -> KafkaResult<Self> {
        Ok(Self {
            client: create()?,
            create: Box::new(create),
            silence: SilenceTimer::start(clock),
        })
    }

    /// Returns the client.
    pub fn client(&self) -> &C {
        &self.client
    }

    /// Asks by `request`. If that fails and no broker has answered for too long, the next request
    /// has another client.
    ///
    /// # Errors
    /// Those of `request`.
    pub fn ask<T>(&mut self, request: impl FnOnce(&mut C) -> KafkaResult<T>) -> KafkaResult<T> {
        let answer = request(&mut self.client);
        self.observe(&answer);
        answer
    }

    /// Records the result of a request, and returns whether the client was replaced because of it.
    pub fn observe<T>(&mut self, answer: &KafkaResult<T>) -> bool {
        if !self.silence.must_recreate(answer) {
            return false;
        }
        tracing::warn!(reason = "no broker answers", "replacing a Kafka client");
        recreate(&mut self.client, &self.create)
    }
}
