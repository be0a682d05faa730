//! When a failed action is tried again, and when it is given up.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use serde::Deserialize;

use super::action::error::ActionError;
use super::fields::duration;

/// The most attempts that can be asked for.
const MOST_ATTEMPTS: u32 = 1_000;

/// How patient the handler is with an action that fails on an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Fields")]
pub struct RetryPolicy {
    attempts: u32,
    initial_backoff: Duration,
    max_backoff: Duration,
    total: Duration,
}

/// The attempts of one action on one event: pure, the time and the jitter are arguments.
#[derive(Debug)]
pub struct Retries {
    policy: RetryPolicy,
    backoffs: ExponentialBackoff,
    tried: u32,
    counted: u32,
    /// When the first of the failures that count happened.
    failing_since: Option<Duration>,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this long.
    Again(Duration),
    /// The target refused the event: no attempt will change that.
    Refused,
    /// The attempts or the time are used up.
    Exhausted,
}

impl RetryPolicy {
    /// How long to wait at most before one attempt after the other: doubles up to the
    /// longest backoff, endless.
    #[must_use]
    pub fn backoffs(&self) -> ExponentialBackoff {
        let backoffs = ExponentialBuilder::new()
            .with_min_delay(self.initial_backoff)
            .with_max_delay(self.max_backoff)
            .without_max_times();
        backoffs.build()
    }

    /// The next of `backoffs`.
    pub fn next(&self, backoffs: &mut ExponentialBackoff) -> Duration {
        backoffs.next().unwrap_or(self.max_backoff)
    }

    /// Starts counting for one action on one event.
    #[must_use]
    pub fn start(&self) -> Retries {
        Retries {
            policy: *self,
            backoffs: self.backoffs(),
            tried: 0,
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
    /// What to do after an attempt failed with `error` at `now` (on a clock that never goes
    /// back). `jitter` is a fresh random number from 0 to 1.
    ///
    /// The wait is exponential with full jitter: anything between nothing and a ceiling that
    /// doubles, so that events that failed together do not come back together. A target's
    /// `Retry-After` is a minimum on top, up to the total: one answer that asks for a long
    /// pause does not use an event up.
    pub fn after(&mut self, error: &ActionError, now: Duration, jitter: f64) -> Verdict {
        self.tried = self.tried.saturating_add(1);
        let asked = match error {
            ActionError::Permanent { .. } => return Verdict::Refused,
            ActionError::Retryable { retry_after, .. } => retry_after.unwrap_or_default(),
            ActionError::Unreachable { .. } => Duration::ZERO,
        };
        self.counted = self.counted.saturating_add(1);
        let ceiling = self.policy.next(&mut self.backoffs);
        let asked = asked.min(self.policy.total);
        let wait = ceiling.mul_f64(jitter.clamp(0.0, 1.0)).max(asked);
        let since = *self.failing_since.get_or_insert(now);
        let until = now.saturating_sub(since).saturating_add(wait);
        if self.counted >= self.policy.attempts || until > self.policy.total {
            Verdict::Exhausted
        } else {
            Verdict::Again(wait)
        }
    }

    /// A failure that is the target's, not the event's, uses up neither attempts nor time:
    /// a dead-letter topic is no place to wait.
    pub fn exempt(&mut self) {
        self.tried = self.tried.saturating_add(1);
        self.failing_since = None;
    }

    /// How many attempts have failed, the spared ones included.
    #[must_use]
    pub fn tried(&self) -> u32 {
        self.tried
    }
}

/// [`RetryPolicy`] as it is written, before it is checked.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Fields {
    attempts: u32,
    #[serde(deserialize_with = "duration")]
    initial_backoff: Duration,
    #[serde(deserialize_with = "duration")]
    max_backoff: Duration,
    #[serde(deserialize_with = "duration")]
    total: Duration,
}

impl Default for Fields {
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

impl TryFrom<Fields> for RetryPolicy {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        if !(1..=MOST_ATTEMPTS).contains(&fields.attempts) {
            return Err(format!("retry: attempts must be from 1 to {MOST_ATTEMPTS}"));
        }
        if fields.initial_backoff > fields.max_backoff {
            return Err("retry: initialBackoff must not be longer than maxBackoff".to_owned());
        }
        Ok(Self {
            attempts: fields.attempts,
            initial_backoff: fields.initial_backoff,
            max_backoff: fields.max_backoff,
            total: fields.total,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn busy(retry_after: Option<Duration>) -> ActionError {
        let reason = "503".to_owned();
        ActionError::Retryable {
            reason,
            retry_after,
        }
    }

    #[test]
    fn the_ceiling_of_the_wait_doubles_up_to_the_maximum() {
        let patient = RetryPolicy {
            attempts: 100,
            ..RetryPolicy::default()
        };
        let mut retries = patient.start();
        let waits = std::iter::repeat_with(|| retries.after(&busy(None), SECOND, 1.0)).take(10);
        let millis = [
            200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000,
        ];
        // The doubling is done in single precision.
        for (wait, expected) in waits.zip(millis) {
            let Verdict::Again(wait) = wait else {
                panic!("{wait:?}")
            };
            let difference = wait.abs_diff(Duration::from_millis(expected));
            assert!(
                difference < Duration::from_millis(1),
                "{wait:?}, not {expected} ms"
            );
        }
    }

    #[test]
    fn attempts_are_bounded() {
        let mut retries = RetryPolicy::default().start();
        for _ in 1..8 {
            assert!(matches!(
                retries.after(&busy(None), SECOND, 0.5),
                Verdict::Again(_)
            ));
        }
        assert_eq!(retries.after(&busy(None), SECOND, 0.5), Verdict::Exhausted);
        assert_eq!(retries.tried(), 8);
    }

    #[test]
    fn what_the_target_asks_for_is_the_least_wait() {
        let mut retries = RetryPolicy::default().start();
        let asked = Some(60 * SECOND);
        assert_eq!(
            retries.after(&busy(asked), SECOND, 0.5),
            Verdict::Again(60 * SECOND)
        );
        let beyond_the_total = Some(301 * SECOND);
        assert_eq!(
            retries.after(&busy(beyond_the_total), SECOND, 0.5),
            Verdict::Again(300 * SECOND)
        );
        assert_eq!(
            retries.after(&busy(beyond_the_total), 2 * SECOND, 0.5),
            Verdict::Exhausted
        );
    }

    #[test]
    fn a_refusal_is_final() {
        let mut retries = RetryPolicy::default().start();
        let reason = "404".to_owned();
        let refused = ActionError::Permanent { reason };
        assert_eq!(retries.after(&refused, SECOND, 0.5), Verdict::Refused);
    }

    #[test]
    fn what_is_spared_uses_up_neither_attempts_nor_time() {
        let mut retries = RetryPolicy::default().start();
        assert!(matches!(
            retries.after(&busy(None), SECOND, 0.0),
            Verdict::Again(_)
        ));
        for hour in 1..1_000 {
            assert_eq!(retries.tried(), hour);
            retries.exempt();
        }
        // It is back, and busy: the time counts from now, the attempts go on.
        let now = 1_000 * 3_600 * SECOND;
        for _ in 2..8 {
            assert_eq!(
                retries.after(&busy(None), now, 0.0),
                Verdict::Again(Duration::ZERO)
            );
        }
        assert_eq!(retries.after(&busy(None), now, 0.0), Verdict::Exhausted);
    }

    proptest! {
        #[test]
        fn no_wait_reaches_beyond_the_total(
            steps in proptest::collection::vec((0_u64..120, 0_u64..400, 0.0_f64..=1.0), 1..20)
        ) {
            let policy = RetryPolicy { attempts: 100, ..RetryPolicy::default() };
            let mut retries = policy.start();
            let mut now = Duration::ZERO;
            let mut first = None;
            for (pause, asked, jitter) in steps {
                now += Duration::from_secs(pause);
                let asked = Duration::from_secs(asked);
                let first = *first.get_or_insert(now);
                match retries.after(&busy(Some(asked)), now, jitter) {
                    Verdict::Again(wait) => {
                        prop_assert!(wait >= asked.min(policy.total));
                        now += wait;
                        prop_assert!(now - first <= policy.total);
                    }
                    verdict => {
                        prop_assert_eq!(verdict, Verdict::Exhausted);
                        break;
                    }
                }
            }
        }
    }
}
