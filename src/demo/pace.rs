//! Pacing of events.

use std::time::Duration;

/// Spreads events evenly over time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Events per second; 0 for no limit.
    rate: u32,
}

impl Pace {
    /// Creates a pace of `rate` events per second; 0 for no limit.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self { rate }
    }

    /// Returns the time from `elapsed` until event `number` (from 0) is due; zero for a caller
    /// that is behind.
    #[must_use]
    pub fn wait(self, number: u64, elapsed: Duration) -> Duration {
        if self.rate == 0 {
            return Duration::ZERO;
        }
        let rate = u64::from(self.rate);
        let nanos = (number % rate) * 1_000_000_000 / rate;
        let due = Duration::from_secs(number / rate) + Duration::from_nanos(nanos);
        due.saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_rate_determines_the_events_due(rate in 1..1_000_000_u32, millis in 0..86_400_000_u64) {
            let elapsed = Duration::from_millis(millis);
            let due = millis * u64::from(rate) / 1_000;
            let pace = Pace::new(rate);
            prop_assert_eq!(pace.wait(due, elapsed), Duration::ZERO);
            prop_assert!(!pace.wait(due + 1, elapsed).is_zero());
        }

        #[test]
        fn an_event_is_due_after_its_wait(rate in 1..1_000_000_u32, number in 0..1_000_000_000_u64) {
            let pace = Pace::new(rate);
            let wait = pace.wait(number, Duration::ZERO);
            prop_assert_eq!(pace.wait(number, wait), Duration::ZERO);
        }
    }

    #[test]
    fn rate_zero_never_waits() {
        assert_eq!(Pace::new(0).wait(u64::MAX, Duration::ZERO), Duration::ZERO);
    }
}
