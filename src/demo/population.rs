//! Synthetic users: they log in, are active in bursts, pause, return to their session after
//! long breaks, log out or abandon it. Some use two devices at once; some events arrive late.
//!
//! Pure: a seed always produces the same events in the same order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::{Builder, Uuid};

use super::synthetic::SyntheticEvent;
use crate::session::{EventKind, Span, Timestamp};

/// The longest delay between an event and its record.
pub const MAX_LATENESS: Span = Span::from_secs(2);

/// The percentage of late events.
const LATE_PERCENT: u32 = 3;
/// Every third user has a second device with its own sessions.
const SECOND_DEVICE_EVERY: u32 = 3;

/// Simulated time; the rate of events determines the length of a tick.
type Ticks = u64;
/// Time between events of a burst.
const BURST_GAP: std::ops::Range<Ticks> = 100..600;
/// Time between bursts.
const PAUSE: std::ops::Range<Ticks> = 2_000..6_000;
/// A break long enough for the session to expire; activity then restarts it with the same id.
const LONG_BREAK: std::ops::Range<Ticks> = 20_000..40_000;
/// Time between the sessions of a device.
const AWAY: std::ops::Range<Ticks> = 2_000..15_000;

/// Generates the session events of synthetic users.
#[derive(Debug)]
pub struct Population {
    rng: ChaCha8Rng,
    devices: Vec<UserDevice>,
    /// The next event of each device; of two at the same tick, the lower device first.
    agenda: BinaryHeap<Reverse<(Ticks, usize)>>,
    sessions: u64,
}

#[derive(Debug)]
struct UserDevice {
    user: u32,
    session: Option<DeviceSession>,
}

#[derive(Clone, Copy, Debug)]
struct DeviceSession {
    id: Uuid,
    /// The time of the first event; no event of the session is earlier.
    started_at: Timestamp,
    /// Number of events to come.
    remaining: u32,
}

impl Population {
    /// Creates `users` users, at least one.
    #[must_use]
    pub fn new(users: u32, seed: u64) -> Self {
        let devices: Vec<_> = (0..users.max(1))
            .flat_map(|user| {
                let count = 1 + usize::from(user % SECOND_DEVICE_EVERY == 0);
                std::iter::repeat_n(user, count)
            })
            .map(|user| UserDevice {
                user,
                session: None,
            })
            .collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let agenda = (0..devices.len())
            .map(|device| Reverse((rng.random_range(0..AWAY.end), device)))
            .collect();
        Self {
            rng,
            devices,
            agenda,
            sessions: 0,
        }
    }

    /// Returns the next event, whose record is written `now`.
    pub fn next(&mut self, now: Timestamp) -> SyntheticEvent {
        loop {
            // Never empty, because every device is pushed back.
            let Some(Reverse((tick, number))) = self.agenda.pop() else {
                unreachable!("a population has at least one user")
            };
            let (event, gap) = self.act(number, now);
            self.agenda.push(Reverse((tick + gap, number)));
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// Returns the number of sessions started.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.sessions
    }

    /// Advances a device; returns its event and the time until its next one.
    fn act(&mut self, number: usize, now: Timestamp) -> (Option<SyntheticEvent>, Ticks) {
        let UserDevice { user, session } = self.devices[number];
        let Some(session) = session else {
            let (session, kind) = self.start(now);
            self.devices[number].session = Some(session);
            let event = SyntheticEvent {
                user,
                session: session.id,
                kind,
                at: now,
            };
            return (Some(event), self.rng.random_range(BURST_GAP));
        };
        if session.remaining == 0 {
            self.devices[number].session = None;
            let event = self.end().map(|kind| SyntheticEvent {
                user,
                session: session.id,
                kind,
                at: now,
            });
            return (event, self.rng.random_range(AWAY));
        }
        self.devices[number].session = Some(DeviceSession {
            remaining: session.remaining - 1,
            ..session
        });
        let event = SyntheticEvent {
            user,
            session: session.id,
            kind: EventKind::Activity,
            at: self.event_time(now).max(session.started_at),
        };
        (Some(event), self.gap())
    }

    /// Starts a session: most start with a login, some with activity.
    fn start(&mut self, now: Timestamp) -> (DeviceSession, EventKind) {
        self.sessions += 1;
        let remaining = match self.rng.random_range(0..100_u32) {
            // A session that only the absolute timeout ends.
            0..4 => self.rng.random_range(100..300),
            4..20 => self.rng.random_range(1..3),
            _ => self.rng.random_range(3..30),
        };
        let session = DeviceSession {
            id: Builder::from_random_bytes(self.rng.random()).into_uuid(),
            started_at: now,
            remaining,
        };
        match self.rng.random_range(0..100_u32) {
            0..80 => (session, EventKind::Login),
            _ => (session, EventKind::Activity),
        }
    }

    /// Chooses the last event of a session; most sessions are abandoned without one.
    fn end(&mut self) -> Option<EventKind> {
        match self.rng.random_range(0..100_u32) {
            0..35 => Some(EventKind::Logout),
            35..38 => Some(EventKind::Revoke),
            _ => None,
        }
    }

    fn gap(&mut self) -> Ticks {
        match self.rng.random_range(0..100_u32) {
            0..2 => self.rng.random_range(LONG_BREAK),
            2..15 => self.rng.random_range(PAUSE),
            _ => self.rng.random_range(BURST_GAP),
        }
    }

    /// Chooses the time of an event whose record is written `now`.
    fn event_time(&mut self, now: Timestamp) -> Timestamp {
        if self.rng.random_range(0..100) >= LATE_PERCENT {
            return now;
        }
        let delay = self.rng.random_range(1..=MAX_LATENESS.as_millis());
        now - Span::from_millis(delay)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use proptest::prelude::*;

    /// Generates `count` events, ten per second, with the time of each record.
    fn simulate(users: u32, seed: u64, count: i64) -> Vec<(Timestamp, SyntheticEvent)> {
        let mut population = Population::new(users, seed);
        (0..count)
            .map(|number| Timestamp::from_millis(1_700_000_000_000 + number * 100))
            .map(|now| (now, population.next(now)))
            .collect()
    }

    proptest! {
        #[test]
        fn a_seed_reproduces_the_events(users in 1..50_u32, seed: u64) {
            let run = |seed| simulate(users, seed, 200);
            prop_assert_eq!(run(seed), run(seed));
            prop_assert_ne!(run(seed), run(seed.wrapping_add(1)));
        }

        #[test]
        fn lateness_is_bounded_and_no_event_precedes_its_session(
            users in 1..50_u32, seed: u64
        ) {
            let mut first = BTreeMap::new();
            for (now, event) in simulate(users, seed, 1_000) {
                let start = *first.entry(event.session).or_insert(event.at);
                prop_assert!(event.at <= now, "an event from the future");
                prop_assert!(now.since(event.at) <= MAX_LATENESS);
                prop_assert!(event.at >= start);
            }
        }

        #[test]
        fn a_session_belongs_to_one_user_and_has_no_events_after_a_logout(users in 1..50_u32, seed: u64) {
            let mut owner = BTreeMap::new();
            let mut ended = BTreeSet::new();
            for (_, event) in simulate(users, seed, 1_000) {
                prop_assert!(event.user < users);
                prop_assert_eq!(*owner.entry(event.session).or_insert(event.user), event.user);
                prop_assert!(!ended.contains(&event.session), "an event after a logout");
                if matches!(event.kind, EventKind::Logout | EventKind::Revoke) {
                    ended.insert(event.session);
                }
            }
        }
    }

    #[test]
    fn the_population_shows_every_kind_of_behavior() {
        let events = simulate(30, 1, 20_000);
        let kinds = |kind| {
            events
                .iter()
                .filter(|(_, event)| event.kind == kind)
                .count()
        };
        for kind in [EventKind::Login, EventKind::Logout, EventKind::Revoke] {
            assert!(kinds(kind) > 10, "{kind:?}");
        }
        assert!(kinds(EventKind::Activity) > 10_000);
        assert!(events.iter().any(|(now, event)| event.at < *now), "late");
        assert!(
            events.windows(2).any(|pair| pair[1].1.at < pair[0].1.at),
            "out of order"
        );

        // The record times of each session, by user.
        let mut sessions = BTreeMap::<(u32, Uuid), Vec<Timestamp>>::new();
        for (now, event) in &events {
            sessions
                .entry((event.user, event.session))
                .or_default()
                .push(*now);
        }
        let bursts_and_gaps = sessions.values().any(|records| {
            let gaps = records.windows(2).map(|pair| pair[1].since(pair[0]));
            let (mut short, mut long) = (false, false);
            gaps.for_each(|gap| {
                short |= gap <= Span::from_secs(3);
                long |= gap >= Span::from_secs(60);
            });
            short && long
        });
        assert!(bursts_and_gaps);
        let overlaps = sessions.iter().any(|(&(user, session), records)| {
            let others = sessions.range((user, Uuid::nil())..=(user, Uuid::max()));
            let mut others = others.filter(|((_, other), _)| *other != session);
            others.any(|(_, other)| other[0] > records[0] && other[0] < records[records.len() - 1])
        });
        assert!(overlaps, "two sessions of a user at once");
    }
}
