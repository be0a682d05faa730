//! Members that do not find back.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::Rebalance;

/// How long a member may take to come back. Much longer than a rebalance.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the brokers are asked after that.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long they may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The group has thrown this member out, and it has not come back.
#[derive(Debug, thiserror::Error)]
#[error(
    "the group has not heard of this member for {} s, although brokers answer others; the process has to be restarted",
    .0.as_secs()
)]
pub struct MemberEvicted(Duration);

/// Notices a member that its group has thrown out and that does not find back.
///
/// librdkafka's may not, if all of its connections failed at once: brokers that a
/// controller had fenced for seconds have left members outside for minutes.
pub struct EvictionDetector {
    client: ClientConfig,
    lost: Option<Lost>,
}

struct Lost {
    since: Duration,
    ask_at: Duration,
}

impl EvictionDetector {
    /// For a member with this configuration, which is in its group, or on its way there
    /// for the first time.
    #[must_use]
    pub fn new(client: ClientConfig) -> Self {
        Self { client, lost: None }
    }

    /// Takes note of a rebalance, at a time of a clock that never goes back.
    pub fn note(&mut self, rebalance: &Rebalance, now: Duration) {
        self.lost = match rebalance {
            Rebalance::Lost(_) => Some(Lost {
                since: now,
                ask_at: now + PATIENCE,
            }),
            Rebalance::Assigned(_) | Rebalance::Revoked(_) => None,
        };
    }

    /// Looks whether the member has been outside for too long. While no broker answers,
    /// there is nothing to come back to.
    ///
    /// # Errors
    /// [`MemberEvicted`] if it has.
    pub fn check(&mut self, now: Duration) -> Result<(), MemberEvicted> {
        let Some(lost) = &mut self.lost else {
            return Ok(());
        };
        if now < lost.ask_at {
            return Ok(());
        }
        lost.ask_at = now + INTERVAL;
        let since = lost.since;
        if self.brokers_answer() {
            return Err(MemberEvicted(now.saturating_sub(since)));
        }
        Ok(())
    }

    /// Asks with a client that has heard nothing yet.
    fn brokers_answer(&self) -> bool {
        let client: Result<BaseConsumer, _> = self.client.create();
        client.is_ok_and(|client| client.fetch_metadata(None, TIMEOUT).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::TopicPartitionList;

    use super::*;

    fn eviction() -> EvictionDetector {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", "127.0.0.1:1");
        EvictionDetector::new(client)
    }

    fn list() -> TopicPartitionList {
        TopicPartitionList::new()
    }

    #[test]
    fn nobody_is_asked_before_the_time_has_come_or_once_the_member_is_back() {
        let mut eviction = eviction();
        eviction.note(&Rebalance::Lost(list()), Duration::ZERO);
        assert_eq!(
            eviction.lost.as_ref().map(|lost| lost.ask_at),
            Some(PATIENCE)
        );
        eviction.check(PATIENCE - Duration::from_millis(1)).unwrap();
        assert_eq!(
            eviction.lost.as_ref().map(|lost| lost.ask_at),
            Some(PATIENCE)
        );
        eviction.note(&Rebalance::Assigned(list()), PATIENCE);
        assert!(eviction.lost.is_none());
        eviction.check(PATIENCE * 10).unwrap();
    }

    #[test]
    fn a_member_stays_while_no_broker_answers() {
        let mut eviction = eviction();
        eviction.note(&Rebalance::Lost(list()), Duration::ZERO);
        eviction.check(PATIENCE).unwrap();
        let next = eviction.lost.map(|lost| lost.ask_at);
        assert_eq!(next, Some(PATIENCE + INTERVAL));
    }
}
