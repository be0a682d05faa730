//! The only module that reads clocks.
//!
//! All other code takes the time as an argument, so that tests can choose it.
#![expect(clippy::disallowed_methods, reason = "this module reads clocks")]

pub mod clocks;

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
    /// Reads both clocks.
    #[must_use]
    pub fn reading(&self) -> Reading {
        Reading {
            wall: self.wall(),
            elapsed: self.elapsed(),
        }
    }

    /// Returns the wall clock, which may be wrong and may be set at any moment.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        })
    }

    /// Returns the time since this clock was created, which never goes back.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Returns the instant `after` from now, for waits with a limit.
    #[must_use]
    pub fn deadline(&self, after: Duration) -> Instant {
        Instant::now() + after
    }
}

/// A simultaneous reading of this process's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    pub wall: Timestamp,
    /// Time since the process started, which never goes back.
    pub elapsed: Duration,
}

/// A sample of the brokers' clock from an acknowledged process report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerSample {
    /// The timestamp that the broker put on the report; `None` if the topic has CreateTime.
    pub append_time: Option<Timestamp>,
    /// When the report was sent, by [`Reading::elapsed`].
    pub sent: Duration,
    /// When the acknowledgement arrived, by [`Reading::elapsed`].
    pub acknowledged: Duration,
}
