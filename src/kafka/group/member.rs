//! A consumer with the checks that librdkafka does not make.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;

use super::silence::SilenceWatch;
use super::{EvictionDetector, GroupConsumer, Rebalance, StallDetector};
use crate::clock::Clock;
use crate::health::Health;

/// How often partitions are checked for stalls.
const STALL_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A member of a consumer group: its consumer, its rebalances, and the detection of evictions
/// and stalls.
#[derive(Debug)]
pub struct Member {
    consumer: Arc<GroupConsumer>,
    eviction: EvictionDetector,
    stall: StallDetector,
    silence: SilenceWatch,
    clock: Clock,
    stalls_checked_at: Duration,
}

impl Member {
    /// Creates a member that reads `topic`. It joins the group with
    /// [`GroupConsumer::subscribe`].
    ///
    /// # Errors
    /// If librdkafka does not accept the configuration, or a thread cannot be started.
    pub fn new(
        config: ClientConfig,
        topic: &str,
        clock: Clock,
        health: &Health,
    ) -> anyhow::Result<Self> {
        let consumer = Arc::new(GroupConsumer::new(&config, topic)?);
        Ok(Self {
            silence: SilenceWatch::start(&consumer, config.clone(), clock, health)?,
            consumer,
            stall: StallDetector::new(config, topic.to_owned(), health.clone()),
            eviction: EvictionDetector::default(),
            clock,
            stalls_checked_at: Duration::ZERO,
        })
    }

    /// Returns the consumer. It leaves the group when its last owner drops it.
    #[must_use]
    pub fn consumer(&self) -> &Arc<GroupConsumer> {
        &self.consumer
    }

    /// Returns the oldest rebalance that has not been handled. Call it after every poll.
    pub fn next_rebalance(&mut self) -> Option<Rebalance> {
        let rebalance = self.consumer.next_rebalance()?;
        self.eviction.observe(&rebalance, self.clock.elapsed());
        Some(rebalance)
    }

    /// Checks that the member is in its group and, once a second, that its partitions do not
    /// stall. `unread` returns the partitions with records left to read, and the position in
    /// each.
    ///
    /// # Errors
    /// [`MemberEvicted`](super::MemberEvicted), [`SilentMember`](super::SilentMember) or
    /// [`PartitionStalled`](super::PartitionStalled); the process has to be restarted.
    pub fn check<I>(&mut self, unread: impl FnOnce(&GroupConsumer) -> I) -> anyhow::Result<()>
    where
        I: IntoIterator<Item = (i32, i64)>,
    {
        let now = self.clock.elapsed();
        self.eviction.check(now, self.silence.answers_since())?;
        self.silence.check()?;
        if now.saturating_sub(self.stalls_checked_at) < STALL_CHECK_INTERVAL {
            return Ok(());
        }
        self.stalls_checked_at = now;
        let unread = unread(&self.consumer);
        Ok(self.stall.check(&self.consumer, unread, now)?)
    }
}

impl Drop for Member {
    /// Closing the consumer revokes its partitions, and librdkafka waits for the answer.
    fn drop(&mut self) {
        self.consumer.close();
    }
}
