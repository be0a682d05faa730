//! Which clock counts.
//!
//! A tracker with a wrong clock must not log users out. It compares two clocks: its own, and the
//! brokers', which it reads from the timestamps that they put on its process reports. Sessions
//! end by the lower of the two, and do not end while the two disagree.

use std::time::Duration;

use crate::clock::{BrokerSample, Reading};
use crate::session::{Span, Timestamp};

/// How long a sample of the brokers' clock is valid: five reports missed.
const SAMPLE_LIFETIME: Duration = Duration::from_secs(15);

/// Why no session may end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockHold {
    /// No sample of the brokers' clock has arrived.
    #[error("waiting for the brokers to acknowledge the first process report, to compare clocks")]
    Unknown,
    /// No process report has been acknowledged for some time.
    #[error("no process report has been acknowledged for {}: are the brokers reachable?", span(.0))]
    Stale(Duration),
    /// The clocks are too far apart.
    #[error(
        "this machine's clock and the brokers' are {apart} apart, more than --max-clock-skew {allowed}: \
         correct the clock that is wrong (is NTP running?)"
    )]
    Apart {
        /// The difference.
        apart: Span,
        /// The largest allowed difference.
        allowed: Span,
    },
}

impl ClockHold {
    /// Every [`reason`](Self::reason), for metrics.
    pub const REASONS: [&str; 3] = ["unknown", "stale", "apart"];

    /// Returns one of [`REASONS`](Self::REASONS).
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Stale(_) => "stale",
            Self::Apart { .. } => "apart",
        }
    }
}

fn span(duration: &Duration) -> Span {
    Span::from_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

/// Compares this machine's clock with the brokers'.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    max_skew: Span,
    sample: Option<BrokerSample>,
}

impl Clocks {
    /// Creates a comparison of clocks that may differ by `max_skew`.
    #[must_use]
    pub fn new(max_skew: Span) -> Self {
        Self {
            max_skew,
            sample: None,
        }
    }

    /// Takes the sample of an acknowledged process report.
    pub fn add_broker_sample(&mut self, sample: BrokerSample) {
        self.sample = Some(sample);
    }

    /// Returns whether a sample of the brokers' clock has arrived.
    #[must_use]
    pub fn known(&self) -> bool {
        self.sample.is_some()
    }

    /// Returns whether brokers do not stamp process reports, so that there is no second clock.
    #[must_use]
    pub fn unchecked(&self) -> bool {
        self.sample
            .is_some_and(|sample| sample.append_time.is_none())
    }

    /// Returns the time by which sessions may end at `reading`: the lower of the two clocks.
    ///
    /// # Errors
    /// [`ClockHold`] while no session may end.
    pub fn lower(&self, reading: Reading) -> Result<Timestamp, ClockHold> {
        let sample = self.sample.ok_or(ClockHold::Unknown)?;
        let age = reading.elapsed.saturating_sub(sample.acknowledged);
        if age > SAMPLE_LIFETIME {
            return Err(ClockHold::Stale(age));
        }
        let Some(broker) = self.broker(reading) else {
            return Ok(reading.wall);
        };
        // The broker stamped the report at some moment of the round trip.
        let uncertainty = span(&sample.acknowledged.saturating_sub(sample.sent));
        let apart = reading.wall.distance(broker);
        if apart > self.max_skew + uncertainty {
            return Err(ClockHold::Apart {
                apart,
                allowed: self.max_skew,
            });
        }
        Ok(reading.wall.min(broker))
    }

    /// Returns the time beyond which no event can have happened at `reading`: the higher of the
    /// two clocks, so that a machine that is behind does not clamp the times of honest events.
    #[must_use]
    pub fn upper(&self, reading: Reading) -> Timestamp {
        let broker = self.broker(reading).unwrap_or(Timestamp::MIN);
        reading.wall.max(broker)
    }

    /// Returns how far this machine's clock is ahead of the brokers' at `reading`, give or take
    /// the round trip of a report; none if the brokers' clock is not known.
    #[must_use]
    pub fn skew(&self, reading: Reading) -> Option<Span> {
        Some(reading.wall.since(self.broker(reading)?))
    }

    /// Returns the brokers' clock at `reading`, or a little less: the report was stamped before
    /// its acknowledgement arrived. Elapsed time is added to the sample, so that setting this
    /// machine's clock does not move the result.
    fn broker(&self, reading: Reading) -> Option<Timestamp> {
        let sample = self.sample?;
        let since = reading.elapsed.saturating_sub(sample.acknowledged);
        Some(sample.append_time? + span(&since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_764_000_000_000;

    fn reading(wall_ms: i64, elapsed_secs: u64) -> Reading {
        Reading {
            wall: Timestamp::from_millis(NOON + wall_ms),
            elapsed: Duration::from_secs(elapsed_secs),
        }
    }

    fn sampled(append_time: Option<i64>) -> Clocks {
        let mut clocks = Clocks::new(Span::from_secs(10));
        clocks.add_broker_sample(BrokerSample {
            append_time: append_time.map(|ms| Timestamp::from_millis(NOON + ms)),
            sent: Duration::from_secs(100),
            acknowledged: Duration::from_secs(100),
        });
        clocks
    }

    #[test]
    fn no_session_ends_before_the_brokers_clock_is_known() {
        let clocks = Clocks::new(Span::from_secs(10));
        assert_eq!(clocks.lower(reading(0, 1)), Err(ClockHold::Unknown));
    }

    #[test]
    fn the_lower_clock_ends_sessions_and_the_higher_one_bounds_events() {
        let clocks = sampled(Some(-3_000));
        let at = |ms| Timestamp::from_millis(NOON + ms);
        assert_eq!(clocks.lower(reading(2_000, 102)), Ok(at(-1_000)));
        let ahead = clocks.skew(reading(2_000, 102));
        assert_eq!(ahead, Some(Span::from_millis(3_000)));
        assert_eq!(clocks.upper(reading(2_000, 102)), at(2_000));
        assert_eq!(clocks.lower(reading(-2_000, 102)), Ok(at(-2_000)));
        assert_eq!(clocks.upper(reading(-2_000, 102)), at(-1_000));
    }

    #[test]
    fn a_clock_that_is_set_between_two_reports_is_detected_at_once() {
        let clocks = sampled(Some(0));
        let hour = 3_600_000;
        for step in [hour, -hour] {
            let hold = clocks.lower(reading(1_000 + step, 101)).unwrap_err();
            assert_eq!(
                hold,
                ClockHold::Apart {
                    apart: Span::from_millis(hour),
                    allowed: Span::from_secs(10)
                }
            );
        }
    }

    #[test]
    fn an_old_sample_is_stale() {
        assert!(matches!(
            sampled(Some(0)).lower(reading(20_000, 120)),
            Err(ClockHold::Stale(_))
        ));
    }

    #[test]
    fn if_brokers_do_not_stamp_reports_this_machines_clock_counts() {
        let clocks = sampled(None);
        assert!(clocks.unchecked());
        assert_eq!(clocks.skew(reading(5_000, 105)), None);
        assert_eq!(
            clocks.lower(reading(5_000, 105)),
            Ok(reading(5_000, 0).wall)
        );
    }
}
