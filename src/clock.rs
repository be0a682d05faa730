//! The one file that reads clocks.
//!
//! Everything else takes the time as an argument, so that it can be tested with any
//! time whatever.
#![expect(clippy::disallowed_methods, reason = "this is the file that may")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::session::Timestamp;

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Clock {
    /// The wall clock: what the machine believes the time is. May be wrong and may
    /// be set back or forth at any moment.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        })
    }

    /// Time since this clock was made: never goes back, says nothing of the date.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// When the process ran `after` longer than now; for waiting with a limit.
    #[must_use]
    pub fn deadline(&self, after: Duration) -> Instant {
        Instant::now() + after
    }
}

/// Both readings of this process's clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Time since the process started; never goes back.
    pub elapsed: Duration,
}

/// The brokers' clock, as one acknowledged process report showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerSample {
    /// The timestamp that the broker put on the report; `None` where the topic keeps
    /// the producer's own.
    pub append_time: Option<Timestamp>,
    /// When the report was sent, by [`Reading::elapsed`].
    pub sent: Duration,
    /// When its acknowledgement came.
    pub acknowledged: Duration,
}
