//! Members that do not rejoin their group.

use std::time::Duration;

use super::Rebalance;

/// How long a member may take to rejoin, from the eviction or the first answer of a broker after it: much longer
/// than a rebalance.
const REJOIN_TIMEOUT: Duration = Duration::from_secs(60);

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
#[derive(Debug, Default)]
pub struct EvictionDetector {
    lost_at: Option<Duration>,
}

impl EvictionDetector {
    /// Records a rebalance. `now` is of a clock that never goes back.
    pub fn observe(&mut self, rebalance: &Rebalance, now: Duration) {
        self.lost_at = match rebalance {
            Rebalance::Lost(_) => Some(now),
            Rebalance::Assigned(_) | Rebalance::Revoked(_) => None,
        };
    }

    /// Checks how long the member has been outside its group although brokers have answered since
    /// `answers_since`. While they do not, it cannot rejoin and passes.
    ///
    /// # Errors
    /// [`MemberEvicted`] after a minute.
    pub fn check(
        &self,
        now: Duration,
        answers_since: Option<Duration>,
    ) -> Result<(), MemberEvicted> {
        let (Some(lost_at), Some(answers_since)) = (self.lost_at, answers_since) else {
            return Ok(());
        };
        if now.saturating_sub(lost_at.max(answers_since)) >= REJOIN_TIMEOUT {
            return Err(MemberEvicted(now.saturating_sub(lost_at)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const SINCE_START: Option<Duration> = Some(Duration::ZERO);

    fn evicted_at(seconds: u32) -> EvictionDetector {
        let mut detector = EvictionDetector::default();
        detector.observe(&Rebalance::Lost(Vec::new()), SECOND * seconds);
        detector
    }

    #[test]
    fn a_member_has_a_minute_to_rejoin() {
        let mut detector = evicted_at(10);
        detector.check(SECOND * 69, SINCE_START).unwrap();
        let error = detector.check(SECOND * 70, SINCE_START).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the group evicted this member 60 s ago and it has not rejoined although brokers answer; restart the process"
        );
        detector.observe(&Rebalance::Assigned(Vec::new()), SECOND * 69);
        detector.check(SECOND * 700, SINCE_START).unwrap();
    }

    #[test]
    fn an_outage_does_not_count() {
        let detector = evicted_at(10);
        detector.check(SECOND * 700, None).unwrap();
        let back = Some(SECOND * 701);
        detector.check(SECOND * 760, back).unwrap();
        let error = detector.check(SECOND * 761, back).unwrap_err();
        assert!(error.to_string().contains("751 s ago"), "{error}");
    }
}
