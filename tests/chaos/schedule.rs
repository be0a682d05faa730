//! The schedule of faults, derived from a seed.
//!
//! Faults come in lanes: one for each member, some for the network, one for the brokers. Faults of a
//! lane are sequential; lanes run concurrently. The seed determines each lane; how lanes interleave
//! depends on the machine.

use std::fmt;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::network::LinkState;

/// Upper bound of concurrent trackers.
pub const TRACKERS: usize = 5;
/// How many processes map the events of a website.
pub const INGESTS: usize = 2;

/// The wanted number of trackers after `done` of `all` faults.
pub fn trackers(done: usize, all: usize) -> usize {
    match done * 100 / all.max(1) {
        0..10 => 1,
        10..75 => TRACKERS,
        _ => 2,
    }
}

/// A fault and its time.
#[derive(Clone, Copy, Debug)]
pub struct Step<F> {
    /// Delay after the end of the previous fault.
    pub after: Duration,
    pub fault: F,
    pub lasts: Duration,
}

/// What a member of a group does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Tracker,
    Ingest,
}

/// A fault of a tracker or an ingest process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberFault {
    /// SIGKILL, then a new process.
    Kill,
    /// SIGTERM, then a new process.
    Leave,
    /// SIGSTOP, then SIGCONT.
    Freeze,
    /// SIGSTOP, then SIGKILL.
    FreezeAndKill,
    /// Wall clock offset in seconds.
    Clock(i64),
}

/// A fault of the connections between a member and one broker or all.
#[derive(Clone, Copy, Debug)]
pub struct NetworkFault {
    /// Taken modulo the number of members.
    pub member: usize,
    /// `None` for all brokers.
    pub broker: Option<u8>,
    pub state: LinkState,
}

/// A fault of a broker.
#[derive(Clone, Copy, Debug)]
pub struct BrokerFault {
    /// Counted from 1.
    pub broker: u8,
    pub outage: Outage,
    /// Whether terminal events need all replicas meanwhile.
    pub is_needed: bool,
}

/// How a broker is out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// SIGKILL, then a new process.
    Killed,
    /// SIGSTOP, then SIGCONT.
    Frozen,
    /// The state of the connections to the other brokers and controllers. Its clients reach it.
    CutOff(LinkState),
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

    /// Whether a member's next fault may precede its first assignment.
    pub fn early_fault(&mut self) -> bool {
        self.0.random_ratio(1, 4)
    }

    /// The next fault of a member; `clock` is whether its clock can be set.
    pub fn member(&mut self, clock: bool) -> Step<MemberFault> {
        let after = self.millis(500..4_000);
        let by = [-60, -20, -4, 4, 20, 60, 3_600][self.0.random_range(0..7)];
        let fault = match self.0.random_range(0..100) {
            0..30 => MemberFault::Kill,
            30..45 => MemberFault::Leave,
            45..55 => MemberFault::FreezeAndKill,
            55..80 if clock => MemberFault::Clock(by),
            _ => MemberFault::Freeze,
        };
        let lasts = match fault {
            MemberFault::Kill | MemberFault::Leave => self.millis(0..3_000),
            // The session timeout of the group is 3 s.
            MemberFault::Freeze | MemberFault::FreezeAndKill => self.millis(50..7_000),
            MemberFault::Clock(_) => self.millis(1_000..6_000),
        };
        Step {
            after,
            fault,
            lasts,
        }
    }

    pub fn network(&mut self, brokers: u8) -> Step<NetworkFault> {
        let slow = self.millis(20..300);
        let state = match self.0.random_range(0..4) {
            0 => LinkState::Slow(slow),
            1 => LinkState::Silent,
            2 => LinkState::Unanswered,
            _ => LinkState::Cut,
        };
        let one = self.0.random_range(1..=brokers);
        Step {
            after: self.millis(200..2_000),
            fault: NetworkFault {
                // A multiple of all numbers of members.
                member: self.0.random_range(0..84),
                broker: self.0.random_ratio(2, 3).then_some(one),
                state,
            },
            lasts: self.millis(100..6_000),
        }
    }

    pub fn broker(&mut self, brokers: u8) -> Step<BrokerFault> {
        Step {
            after: self.millis(2_000..7_000),
            fault: BrokerFault {
                broker: self.0.random_range(1..=brokers),
                outage: match self.0.random_range(0..4) {
                    0 => Outage::Killed,
                    1 => Outage::CutOff(LinkState::Silent),
                    2 => Outage::Frozen,
                    _ => Outage::CutOff(LinkState::Cut),
                },
                is_needed: self.0.random_ratio(1, 3),
            },
            // New leaders are elected after 3 s. Longer outages would delay user events past the end
            // of their sessions.
            lasts: self.millis(500..5_000),
        }
    }

    /// How long users are active and, in a third of the cases, how long they are silent afterwards.
    pub fn users(&mut self) -> (Duration, Option<Duration>) {
        let act = self.millis(5_000..12_000);
        let silence = self.millis(3_000..22_000);
        (act, self.0.random_ratio(1, 3).then_some(silence))
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.0.random_range(range))
    }
}

impl Role {
    /// The name of a member in logs, and its client id.
    pub fn name(self, number: usize) -> String {
        match self {
            Self::Tracker => format!("tracker-{number}"),
            Self::Ingest => format!("ingest-{number}"),
        }
    }
}

impl MemberFault {
    /// The label under which it is counted.
    pub fn kind(self, role: Role) -> &'static str {
        match (role, self) {
            (Role::Tracker, Self::Kill) => "trackers killed",
            (Role::Tracker, Self::Leave) => "trackers stopped",
            (Role::Tracker, Self::Freeze) => "trackers frozen",
            (Role::Tracker, Self::FreezeAndKill) => "trackers frozen, then killed",
            (Role::Tracker, Self::Clock(_)) => "clocks of trackers set",
            (Role::Ingest, Self::Kill) => "ingests killed",
            (Role::Ingest, Self::Leave) => "ingests stopped",
            (Role::Ingest, Self::Freeze) => "ingests frozen",
            (Role::Ingest, Self::FreezeAndKill) => "ingests frozen, then killed",
            (Role::Ingest, Self::Clock(_)) => "clocks of ingests set",
        }
    }
}

impl fmt::Display for MemberFault {
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
