//! Retries of failed actions.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use serde::Deserialize;

use super::action::error::ActionError;
use super::fields::duration;

/// The upper bound of `attempts`.
const MAX_ATTEMPTS: u32 = 1_000;

/// `retry` in the actions file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RetryConfig")]
pub struct RetryPolicy {
    attempts: u32,
    initial_backoff: Duration,
    max_backoff: Duration,
    total: Duration,
}

/// The failed attempts of one action for one event. Pure: time and jitter are arguments.
#[derive(Debug)]
pub struct Retries {
    policy: RetryPolicy,
    backoffs: ExponentialBackoff,
    attempts: u32,
    /// Attempts without the exempt ones.
    counted: u32,
    /// The time of the first failure that counts.
    failing_since: Option<Duration>,
}

/// The consequence of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    RetryAfter(Duration),
    /// Another attempt would fail in the same way.
    Refused,
    /// The attempts or the total time are used up.
    Exhausted,
}

impl RetryPolicy {
    /// Returns the endless sequence of the longest waits between attempts. It doubles up to
    /// `maxBackoff`.
    #[must_use]
    pub fn backoffs(&self) -> ExponentialBackoff {
        let backoffs = ExponentialBuilder::new()
            .with_min_delay(self.initial_backoff)
            .with_max_delay(self.max_backoff)
            .without_max_times();
        backoffs.build()
    }

    /// Returns the next of `backoffs`.
    pub fn next(&self, backoffs: &mut ExponentialBackoff) -> Duration {
        backoffs.next().unwrap_or(self.max_backoff)
    }

    /// Starts counting the attempts of one action for one event.
    #[must_use]
    pub fn start(&self) -> Retries {
        Retries {
            policy: *self,
            backoffs: self.backoffs(),
            attempts: 0,
            counted: 0,
            failing_since: None,
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 8,
            initial_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(30),
            total: Duration::from_secs(300),
        }
    }
}

impl Retries {
    /// Decides what follows an attempt that failed with `error` at `now`, on a monotonic clock.
    /// `jitter` is a random number from 0 to 1.
    ///
    /// The wait is exponential with full jitter: between zero and a backoff that doubles, so
    /// that events that failed together do not retry together. A target's `Retry-After` is the
    /// minimum, up to `total`, so that a single long `Retry-After` does not exhaust an event.
    pub fn decide(&mut self, error: &ActionError, now: Duration, jitter: f64) -> RetryDecision {
        self.attempts = self.attempts.saturating_add(1);
        if !error.fault.is_target() {
            return RetryDecision::Refused;
        }
        let retry_after = error.retry_after.unwrap_or_default();
        self.counted = self.counted.saturating_add(1);
        let backoff = self.policy.next(&mut self.backoffs);
        let retry_after = retry_after.min(self.policy.total);
        let wait = backoff.mul_f64(jitter.clamp(0.0, 1.0)).max(retry_after);
        let since = *self.failing_since.get_or_insert(now);
        let until = now.saturating_sub(since).saturating_add(wait);
        if self.counted >= self.policy.attempts || until > self.policy.total {
            RetryDecision::Exhausted
        } else {
            RetryDecision::RetryAfter(wait)
        }
    }

    /// Records a failure of the target rather than the event. It uses up neither attempts nor
    /// time, so that an outage of the target dead-letters no events.
    pub fn exempt(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
        self.failing_since = None;
    }

    /// The number of failed attempts, exempt ones included.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// [`RetryPolicy`] before validation.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct RetryConfig {
    attempts: u32,
    #[serde(deserialize_with = "duration")]
    initial_backoff: Duration,
    #[serde(deserialize_with = "duration")]
    max_backoff: Duration,
    #[serde(deserialize_with = "duration")]
    total: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        let RetryPolicy {
            attempts,
            initial_backoff,
            max_backoff,
            total,
        } = RetryPolicy::default();
        Self {
            attempts,
            initial_backoff,
            max_backoff,
            total,
        }
    }
}

impl TryFrom<RetryConfig> for RetryPolicy {
    type Error = String;

    fn try_from(config: RetryConfig) -> Result<Self, String> {
        if !(1..=MAX_ATTEMPTS).contains(&config.attempts) {
            return Err(format!("retry: attempts must be from 1 to {MAX_ATTEMPTS}"));
        }
        if config.initial_backoff > config.max_backoff {
            return Err("retry: initialBackoff must not be longer than maxBackoff".to_owned());
        }
        Ok(Self {
            attempts: config.attempts,
            initial_backoff: config.initial_backoff,
            max_backoff: config.max_backoff,
            total: config.total,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::handler::action::error::Failure;

    const SECOND: Duration = Duration::from_secs(1);

    fn busy(retry_after: Option<Duration>) -> ActionError {
        let failed = ActionError::new(Failure::Http { status: 503 }, "503");
        failed.with_retry_after(retry_after)
    }

    #[test]
    fn the_longest_wait_doubles_up_to_the_maximum() {
        let patient = RetryPolicy {
            attempts: 100,
            ..RetryPolicy::default()
        };
        let mut retries = patient.start();
        let waits = std::iter::repeat_with(|| retries.decide(&busy(None), SECOND, 1.0)).take(10);
        let millis = [
            200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000,
        ];
        // backon doubles in single precision.
        for (wait, expected) in waits.zip(millis) {
            let RetryDecision::RetryAfter(wait) = wait else {
                panic!("{wait:?}")
            };
            let difference = wait.abs_diff(Duration::from_millis(expected));
            assert!(
                difference < Duration::from_millis(1),
                "{wait:?} instead of {expected} ms"
            );
        }
    }

    #[test]
    fn attempts_are_bounded() {
        let mut retries = RetryPolicy::default().start();
        for _ in 1..8 {
            assert!(matches!(
                retries.decide(&busy(None), SECOND, 0.5),
                RetryDecision::RetryAfter(_)
            ));
        }
        assert_eq!(
            retries.decide(&busy(None), SECOND, 0.5),
            RetryDecision::Exhausted
        );
        assert_eq!(retries.attempts(), 8);
    }

    #[test]
    fn the_targets_retry_after_is_the_shortest_wait() {
        let mut retries = RetryPolicy::default().start();
        let minute = Some(60 * SECOND);
        assert_eq!(
            retries.decide(&busy(minute), SECOND, 0.5),
            RetryDecision::RetryAfter(60 * SECOND)
        );
        let beyond_the_total = Some(301 * SECOND);
        assert_eq!(
            retries.decide(&busy(beyond_the_total), SECOND, 0.5),
            RetryDecision::RetryAfter(300 * SECOND)
        );
        assert_eq!(
            retries.decide(&busy(beyond_the_total), 2 * SECOND, 0.5),
            RetryDecision::Exhausted
        );
    }

    #[test]
    fn a_refusal_is_final() {
        let mut retries = RetryPolicy::default().start();
        let refused = ActionError::new(Failure::Http { status: 404 }, "404");
        assert_eq!(
            retries.decide(&refused, SECOND, 0.5),
            RetryDecision::Refused
        );
    }

    #[test]
    fn an_exempt_failure_uses_up_neither_attempts_nor_time() {
        let mut retries = RetryPolicy::default().start();
        assert!(matches!(
            retries.decide(&busy(None), SECOND, 0.0),
            RetryDecision::RetryAfter(_)
        ));
        for hour in 1..1_000 {
            assert_eq!(retries.attempts(), hour);
            retries.exempt();
        }
        // The target is back, and busy: the time counts from now, the attempts continue.
        let now = 1_000 * 3_600 * SECOND;
        for _ in 2..8 {
            assert_eq!(
                retries.decide(&busy(None), now, 0.0),
                RetryDecision::RetryAfter(Duration::ZERO)
            );
        }
        assert_eq!(
            retries.decide(&busy(None), now, 0.0),
            RetryDecision::Exhausted
        );
    }

    proptest! {
        #[test]
        fn no_wait_exceeds_the_total(
            steps in proptest::collection::vec((0_u64..120, 0_u64..400, 0.0_f64..=1.0), 1..20)
        ) {
            let policy = RetryPolicy { attempts: 100, ..RetryPolicy::default() };
            let mut retries = policy.start();
            let mut now = Duration::ZERO;
            let mut first = None;
            for (pause, retry_after, jitter) in steps {
                now += Duration::from_secs(pause);
                let retry_after = Duration::from_secs(retry_after);
                let first = *first.get_or_insert(now);
                match retries.decide(&busy(Some(retry_after)), now, jitter) {
                    RetryDecision::RetryAfter(wait) => {
                        prop_assert!(wait >= retry_after.min(policy.total));
                        now += wait;
                        prop_assert!(now - first <= policy.total);
                    }
                    decision => {
                        prop_assert_eq!(decision, RetryDecision::Exhausted);
                        break;
                    }
                }
            }
        }
    }
}
