//! Members that do not rejoin their group.

use std::time::Duration;

use rdkafka::ClientConfig;

use super::Rebalance;
use super::silence::brokers_answer;

/// How long a member may take to rejoin: much longer than a rebalance.
const REJOIN_TIMEOUT: Duration = Duration::from_secs(60);
/// How often brokers are probed after that.
const PROBE_INTERVAL: Duration = Duration::from_secs(30);

/// The group has evicted this member, and it has not rejoined.
#[derive(Debug, thiserror::Error)]
#[error(
    "the group evicted this member {} s ago and it has not rejoined although brokers answer; restart the process",
    .0.as_secs()
)]
pub struct MemberEvicted(Duration);

/// Detects a member that its group has evicted and that does not rejoin.
///
/// librdkafka may not rejoin if all of its connections failed at once: members have stayed
/// outside for minutes after a controller had fenced their brokers for seconds.
#[derive(Debug)]
pub struct EvictionDetector {
    client: ClientConfig,
    lost: Option<Lost>,
}

#[derive(Debug)]
struct Lost {
    since: Duration,
    probe_at: Duration,
}

impl EvictionDetector {
    /// Creates a detector for a member with this configuration that is in its group or joins
    /// it for the first time.
    #[must_use]
    pub fn new(client: ClientConfig) -> Self {
        Self { client, lost: None }
    }

    /// Records a rebalance. `now` is of a clock that never goes back.
    pub fn observe(&mut self, rebalance: &Rebalance, now: Duration) {
        self.lost = match rebalance {
            Rebalance::Lost(_) => Some(Lost {
                since: now,
                probe_at: now + REJOIN_TIMEOUT,
            }),
            Rebalance::Assigned(_) | Rebalance::Revoked(_) => None,
        };
    }

    /// Checks how long the member has been outside its group. While no broker answers, it
    /// cannot rejoin and passes.
    ///
    /// # Errors
    /// [`MemberEvicted`] after a minute.
    pub fn check(&mut self, now: Duration) -> Result<(), MemberEvicted> {
        let Some(lost) = &mut self.lost else {
            return Ok(());
        };
        if now < lost.probe_at {
            return Ok(());
        }
        lost.probe_at = now + PROBE_INTERVAL;
        let since = lost.since;
        if brokers_answer(&self.client) {
            return Err(MemberEvicted(now.saturating_sub(since)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evicted() -> EvictionDetector {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", "127.0.0.1:1");
        let mut detector = EvictionDetector::new(client);
        detector.observe(&Rebalance::Lost(Vec::new()), Duration::ZERO);
        detector
    }

    fn probe_at(detector: &EvictionDetector) -> Option<Duration> {
        detector.lost.as_ref().map(|lost| lost.probe_at)
    }

    #[test]
    fn brokers_are_not_probed_before_the_timeout_or_once_the_member_has_rejoined() {
        let mut detector = evicted();
        assert_eq!(probe_at(&detector), Some(REJOIN_TIMEOUT));
        detector
            .check(REJOIN_TIMEOUT - Duration::from_millis(1))
            .unwrap();
        assert_eq!(probe_at(&detector), Some(REJOIN_TIMEOUT));
        detector.observe(&Rebalance::Assigned(Vec::new()), REJOIN_TIMEOUT);
        assert!(detector.lost.is_none());
        detector.check(REJOIN_TIMEOUT * 10).unwrap();
    }

    #[test]
    fn a_member_is_not_evicted_while_no_broker_answers() {
        let mut detector = evicted();
        detector.check(REJOIN_TIMEOUT).unwrap();
        assert_eq!(probe_at(&detector), Some(REJOIN_TIMEOUT + PROBE_INTERVAL));
    }
}
