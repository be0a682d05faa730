//! When failed restores are retried.

use std::collections::BTreeMap;
use std::time::Duration;

/// Backoff after the first failure; doubles with each further one.
const MIN_BACKOFF: Duration = Duration::from_millis(250);
/// The longest backoff.
const MAX_BACKOFF: Duration = Duration::from_secs(8);
/// Interval at which a held partition is checked again.
const HOLD_INTERVAL: Duration = Duration::from_secs(5);

/// The next attempts of the partitions whose last restore failed.
#[derive(Debug, Default)]
pub(super) struct RestoreAttempts(BTreeMap<i32, NextAttempt>);

#[derive(Clone, Copy, Debug)]
struct NextAttempt {
    at: Duration,
    backoff: Duration,
}

impl RestoreAttempts {
    /// Whether a partition may be restored at `now`.
    pub(super) fn is_due(&self, partition: i32, now: Duration) -> bool {
        self.0.get(&partition).is_none_or(|retry| retry.at <= now)
    }

    /// Delays the next attempt after a failure; returns for how long.
    pub(super) fn failed(&mut self, partition: i32, now: Duration) -> Duration {
        let last = self.0.get(&partition).map(|retry| retry.backoff);
        let backoff = last.map_or(MIN_BACKOFF, |last| (last * 2).min(MAX_BACKOFF));
        let at = now + backoff;
        self.0.insert(partition, NextAttempt { at, backoff });
        backoff
    }

    /// Delays the next attempt of a held partition.
    pub(super) fn held(&mut self, partition: i32, now: Duration) {
        let retry = NextAttempt {
            at: now + HOLD_INTERVAL,
            backoff: MIN_BACKOFF,
        };
        self.0.insert(partition, retry);
    }

    /// Forgets a partition that is restored or no longer assigned.
    pub(super) fn forget(&mut self, partition: i32) {
        self.0.remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_backoff_up_to_a_bound() {
        let mut attempts = RestoreAttempts::default();
        let now = Duration::from_secs(60);
        assert!(attempts.is_due(0, now));
        assert_eq!(attempts.failed(0, now), MIN_BACKOFF);
        assert!(!attempts.is_due(0, now));
        assert!(attempts.is_due(0, now + MIN_BACKOFF));
        assert!(attempts.is_due(1, now));
        assert_eq!(attempts.failed(0, now), 2 * MIN_BACKOFF);
        let last = (0..20).map(|_| attempts.failed(0, now)).last();
        assert_eq!(last, Some(MAX_BACKOFF));
        attempts.forget(0);
        assert!(attempts.is_due(0, now));
    }
}
