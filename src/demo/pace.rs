//! When the next event is due.

use std::time::Duration;

/// Spreads events evenly over time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Events a second; 0 for as fast as possible.
    rate: u32,
}

impl Pace {
    /// So many events a second; 0 for as fast as possible.
    #[must_use]
    pub fn new(rate: u32) -> Self {
        Self { rate }
    }

    /// How long to wait, `elapsed` after the start, until event `number` (from 0) is due.
    /// Whoever fell behind does not wait until they have caught up.
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
        fn as_many_events_are_due_as_the_rate_says(rate in 1..1_000_000_u32, millis in 0..86_400_000_u64) {
            let elapsed = Duration::from_millis(millis);
            let due = millis * u64::from(rate) / 1_000;
            let pace = Pace::new(rate);
            prop_assert_eq!(pace.wait(due, elapsed), Duration::ZERO);
            prop_assert!(!pace.wait(due + 1, elapsed).is_zero());
        }

        #[test]
        fn who_waits_as_told_is_in_time(rate in 1..1_000_000_u32, number in 0..1_000_000_000_u64) {
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
