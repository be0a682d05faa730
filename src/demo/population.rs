//! Made-up users who behave like people: they log in, click in bursts, pause, go for
//! lunch and come back to the same session, log out or just walk away; some use two
//! devices at once, and some devices report late.
//!
//! Pure: the same seed makes the same users do the same things in the same order,
//! whatever the time is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::{Builder, Uuid};

use super::synthetic::Action;
use crate::session::{EventKind, Span, Timestamp};

/// The latest that an action is reported after it happened.
pub const MAX_LATENESS: Span = Span::from_secs(2);

/// How many actions of a hundred are reported late.
const LATE_PERCENT: u32 = 3;
/// Every third user has a second device, with sessions of its own.
const SECOND_DEVICE_EVERY: u32 = 3;

/// A user's own time, in beats; how long one takes follows from the rate of events.
type Beats = u64;
/// From one click of a burst to the next.
const CLICK: std::ops::Range<Beats> = 100..600;
/// A pause within a visit.
const PAUSE: std::ops::Range<Beats> = 2_000..6_000;
/// Lunch: then the session may have expired, and its id comes back to life.
const LUNCH: std::ops::Range<Beats> = 20_000..40_000;
/// From the end of a visit to the next login.
const AWAY: std::ops::Range<Beats> = 2_000..15_000;

/// Users and what they are up to.
#[derive(Debug)]
pub struct Population {
    rng: ChaCha8Rng,
    devices: Vec<Device>,
    /// When each device acts next; of two at once, the one with the lower number.
    agenda: BinaryHeap<Reverse<(Beats, usize)>>,
    sessions: u64,
}

#[derive(Debug)]
struct Device {
    user: u32,
    visit: Option<Visit>,
}

#[derive(Clone, Copy, Debug)]
struct Visit {
    session: Uuid,
    /// Of the login, as it was reported: nothing is older.
    since: Timestamp,
    /// Actions to come.
    left: u32,
}

impl Population {
    /// As many `users`, at least one, who will do what the seed says.
    #[must_use]
    pub fn new(users: u32, seed: u64) -> Self {
        let devices: Vec<_> = (0..users.max(1))
            .flat_map(|user| {
                let count = 1 + usize::from(user % SECOND_DEVICE_EVERY == 0);
                std::iter::repeat_n(user, count)
            })
            .map(|user| Device { user, visit: None })
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

    /// What happens next, if it is reported `now`.
    pub fn next(&mut self, now: Timestamp) -> Action {
        loop {
            // Never empty: whoever is taken out is put back.
            let Some(Reverse((beat, number))) = self.agenda.pop() else {
                unreachable!("a population has at least one user")
            };
            let (action, gap) = self.act(number, now);
            self.agenda.push(Reverse((beat + gap, number)));
            if let Some(action) = action {
                return action;
            }
        }
    }

    /// How many sessions have been started.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.sessions
    }

    /// What a device does now, and how long until it does something again.
    fn act(&mut self, number: usize, now: Timestamp) -> (Option<Action>, Beats) {
        let Device { user, visit } = self.devices[number];
        let Some(visit) = visit else {
            let (visit, kind) = self.start(now);
            self.devices[number].visit = Some(visit);
            let action = Action {
                user,
                session: visit.session,
                kind,
                at: now,
            };
            return (Some(action), self.rng.random_range(CLICK));
        };
        if visit.left == 0 {
            self.devices[number].visit = None;
            let action = self.end().map(|kind| Action {
                user,
                session: visit.session,
                kind,
                at: now,
            });
            return (action, self.rng.random_range(AWAY));
        }
        self.devices[number].visit = Some(Visit {
            left: visit.left - 1,
            ..visit
        });
        let action = Action {
            user,
            session: visit.session,
            kind: EventKind::Activity,
            at: self.happened(now).max(visit.since),
        };
        (Some(action), self.gap())
    }

    /// A new session: most start with a login, some with the first click.
    fn start(&mut self, now: Timestamp) -> (Visit, EventKind) {
        self.sessions += 1;
        let left = match self.rng.random_range(0..100_u32) {
            // Somebody who never leaves: only the absolute timeout ends that.
            0..4 => self.rng.random_range(100..300),
            4..20 => self.rng.random_range(1..3),
            _ => self.rng.random_range(3..30),
        };
        let visit = Visit {
            session: Builder::from_random_bytes(self.rng.random()).into_uuid(),
            since: now,
            left,
        };
        match self.rng.random_range(0..100_u32) {
            0..80 => (visit, EventKind::Login),
            _ => (visit, EventKind::Activity),
        }
    }

    /// How a visit ends; most people just walk away.
    fn end(&mut self) -> Option<EventKind> {
        match self.rng.random_range(0..100_u32) {
            0..35 => Some(EventKind::Logout),
            35..38 => Some(EventKind::Revoke),
            _ => None,
        }
    }

    fn gap(&mut self) -> Beats {
        match self.rng.random_range(0..100_u32) {
            0..2 => self.rng.random_range(LUNCH),
            2..15 => self.rng.random_range(PAUSE),
            _ => self.rng.random_range(CLICK),
        }
    }

    /// When something that is reported now happened.
    fn happened(&mut self, now: Timestamp) -> Timestamp {
        if self.rng.random_range(0..100) >= LATE_PERCENT {
            return now;
        }
        let late = self.rng.random_range(1..=MAX_LATENESS.as_millis());
        now - Span::from_millis(late)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use proptest::prelude::*;

    /// Some simulated time of `users`, ten actions a second: when each was reported, and
    /// what it was.
    fn simulate(users: u32, seed: u64, count: i64) -> Vec<(Timestamp, Action)> {
        let mut population = Population::new(users, seed);
        (0..count)
            .map(|number| Timestamp::from_millis(1_700_000_000_000 + number * 100))
            .map(|now| (now, population.next(now)))
            .collect()
    }

    proptest! {
        #[test]
        fn the_seed_decides(users in 1..50_u32, seed: u64) {
            let run = |seed| simulate(users, seed, 200);
            prop_assert_eq!(run(seed), run(seed));
            prop_assert_ne!(run(seed), run(seed.wrapping_add(1)));
        }

        #[test]
        fn actions_are_late_within_bounds_and_never_before_their_session(
            users in 1..50_u32, seed: u64
        ) {
            let mut first = BTreeMap::new();
            for (now, action) in simulate(users, seed, 1_000) {
                let start = *first.entry(action.session).or_insert(action.at);
                prop_assert!(action.at <= now, "not from the future");
                prop_assert!(now.since(action.at) <= MAX_LATENESS);
                prop_assert!(action.at >= start);
            }
        }

        #[test]
        fn sessions_are_a_users_own_and_end_for_good(users in 1..50_u32, seed: u64) {
            let mut owner = BTreeMap::new();
            let mut ended = BTreeSet::new();
            for (_, action) in simulate(users, seed, 1_000) {
                prop_assert!(action.user < users);
                prop_assert_eq!(*owner.entry(action.session).or_insert(action.user), action.user);
                prop_assert!(!ended.contains(&action.session), "nothing after a logout");
                if matches!(action.kind, EventKind::Logout | EventKind::Revoke) {
                    ended.insert(action.session);
                }
            }
        }
    }

    #[test]
    fn everything_that_people_do_happens() {
        let actions = simulate(30, 1, 20_000);
        let kinds = |kind| {
            actions
                .iter()
                .filter(|(_, action)| action.kind == kind)
                .count()
        };
        for kind in [EventKind::Login, EventKind::Logout, EventKind::Revoke] {
            assert!(kinds(kind) > 10, "{kind:?}");
        }
        assert!(kinds(EventKind::Activity) > 10_000);
        assert!(actions.iter().any(|(now, action)| action.at < *now), "late");
        assert!(
            actions.windows(2).any(|pair| pair[1].1.at < pair[0].1.at),
            "out of order"
        );

        // Each session's reports, by user.
        let mut sessions = BTreeMap::<(u32, Uuid), Vec<Timestamp>>::new();
        for (now, action) in &actions {
            sessions
                .entry((action.user, action.session))
                .or_default()
                .push(*now);
        }
        let bursts_and_gaps = sessions.values().any(|reports| {
            let gaps = reports.windows(2).map(|pair| pair[1].since(pair[0]));
            let (mut short, mut long) = (false, false);
            gaps.for_each(|gap| {
                short |= gap <= Span::from_secs(3);
                long |= gap >= Span::from_secs(60);
            });
            short && long
        });
        assert!(bursts_and_gaps);
        let overlaps = sessions.iter().any(|(&(user, session), reports)| {
            let others = sessions.range((user, Uuid::nil())..=(user, Uuid::max()));
            let mut others = others.filter(|((_, other), _)| *other != session);
            others.any(|(_, other)| other[0] > reports[0] && other[0] < reports[reports.len() - 1])
        });
        assert!(overlaps, "two sessions of a user at once");
    }
}
