//! What goes wrong, when, and for how long: all of it from a seed.
//!
//! Faults come in lanes, one for each place for a tracker, some for the network, one for the
//! brokers. Within a lane they follow one another, lanes run beside each other. What a lane does
//! follows from the seed alone; how far the others are by then, from the machine as well.

use std::fmt;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The most trackers there are at a time.
pub const SEATS: usize = 5;

/// How many trackers there should be once `done` of `all` faults have been injected.
pub fn trackers(done: usize, all: usize) -> usize {
    match done * 100 / all.max(1) {
        0..10 => 1,
        10..75 => SEATS,
        _ => 2,
    }
}

/// A fault and its time.
#[derive(Clone, Copy, Debug)]
pub struct Step<F> {
    /// How long after the one before it is over.
    pub after: Duration,
    pub fault: F,
    pub lasts: Duration,
}

/// What happens to a tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackerFault {
    /// SIGKILL; another one is started afterwards.
    Kill,
    /// SIGTERM, and another one afterwards.
    Leave,
    /// SIGSTOP, SIGCONT afterwards.
    Freeze,
    /// SIGSTOP, SIGKILL afterwards.
    FreezeAndKill,
    /// Its wall clock is set, by so many seconds, and set right afterwards.
    Clock(i64),
}

/// What happens to the connections between a tracker and one broker or all.
#[derive(Clone, Copy, Debug)]
pub struct NetworkFault {
    /// To be taken modulo the number of trackers.
    pub tracker: usize,
    /// All of them, if there is none.
    pub broker: Option<u8>,
    pub weather: Weather,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// Everything passes.
    #[default]
    Clear,
    /// Everything passes, a piece at a time, each after so long.
    Slow(Duration),
    /// Nothing passes; what is sent arrives later.
    Silent,
    /// Requests pass, answers arrive later.
    Unanswered,
    /// There is no connection, and none can be made.
    Cut,
}

/// What happens to a broker.
#[derive(Clone, Copy, Debug)]
pub struct BrokerFault {
    /// From 1.
    pub broker: u8,
    /// SIGKILL, or else SIGSTOP.
    pub kill: bool,
}

/// The faults of one lane.
pub struct Lane(ChaCha8Rng);

impl Lane {
    /// Lanes of one seed are independent of each other.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number);
        Self(rng)
    }

    /// Whether a tracker's next fault may come before it has begun to work.
    pub fn hasty(&mut self) -> bool {
        self.0.random_ratio(1, 4)
    }

    /// `clock` tells whether the tracker's clock can be set.
    pub fn tracker(&mut self, clock: bool) -> Step<TrackerFault> {
        let after = self.millis(500..4_000);
        let by = [-60, -20, -4, 4, 20, 60, 3_600][self.0.random_range(0..7)];
        let fault = match self.0.random_range(0..100) {
            0..30 => TrackerFault::Kill,
            30..45 => TrackerFault::Leave,
            45..55 => TrackerFault::FreezeAndKill,
            55..80 if clock => TrackerFault::Clock(by),
            _ => TrackerFault::Freeze,
        };
        let lasts = match fault {
            TrackerFault::Kill | TrackerFault::Leave => self.millis(0..3_000),
            // The group waits for 3 s.
            TrackerFault::Freeze | TrackerFault::FreezeAndKill => self.millis(50..7_000),
            TrackerFault::Clock(_) => self.millis(1_000..6_000),
        };
        Step {
            after,
            fault,
            lasts,
        }
    }

    pub fn network(&mut self, brokers: u8) -> Step<NetworkFault> {
        let slow = self.millis(20..300);
        let weather = match self.0.random_range(0..4) {
            0 => Weather::Slow(slow),
            1 => Weather::Silent,
            2 => Weather::Unanswered,
            _ => Weather::Cut,
        };
        let one = self.0.random_range(1..=brokers);
        Step {
            after: self.millis(200..2_000),
            fault: NetworkFault {
                tracker: self.0.random_range(0..60),
                broker: self.0.random_ratio(2, 3).then_some(one),
                weather,
            },
            lasts: self.millis(100..6_000),
        }
    }

    pub fn broker(&mut self, brokers: u8) -> Step<BrokerFault> {
        Step {
            after: self.millis(2_000..7_000),
            fault: BrokerFault {
                broker: self.0.random_range(1..=brokers),
                kill: self.0.random(),
            },
            // Its partitions get other leaders after 3 s. No longer than this: what users do
            // meanwhile waits, and must not reach the log after the end of its session.
            lasts: self.millis(500..5_000),
        }
    }

    /// How long users act, and how long nobody does after that, mostly not at all.
    pub fn users(&mut self) -> (Duration, Option<Duration>) {
        let act = self.millis(5_000..12_000);
        let silence = self.millis(3_000..22_000);
        (act, self.0.random_ratio(1, 3).then_some(silence))
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.0.random_range(range))
    }
}

impl TrackerFault {
    /// What it is counted as.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Kill => "trackers killed",
            Self::Leave => "trackers stopped",
            Self::Freeze => "trackers frozen",
            Self::FreezeAndKill => "trackers frozen, then killed",
            Self::Clock(_) => "clocks of trackers set",
        }
    }
}

impl Weather {
    /// What it is counted as.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Clear => "networks left alone",
            Self::Slow(_) => "networks slow",
            Self::Silent => "networks silent",
            Self::Unanswered => "networks silent one way",
            Self::Cut => "networks cut",
        }
    }
}

impl fmt::Display for TrackerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => f.write_str("killed, away"),
            Self::Leave => f.write_str("stopped, away"),
            Self::Freeze => f.write_str("frozen"),
            Self::FreezeAndKill => f.write_str("frozen and then killed"),
            Self::Clock(by) => write!(f, "clock set by {by} s"),
        }
    }
}
