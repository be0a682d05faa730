//! Generates a given number of activity events per session, interleaved across sessions.
//!
//! Pure: a seed always produces the same events.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::{Builder, Uuid};

use crate::demo::synthetic::SyntheticEvent;
use crate::session::{EventKind, Timestamp};

/// Generates the activity events of sessions in random order.
#[derive(Debug)]
pub struct Filler {
    rng: ChaCha8Rng,
    per_session: u32,
    /// Events not yet assigned to a session; `None` if unlimited.
    unassigned: Option<u64>,
    open: Vec<OpenSession>,
    sessions: u64,
    users: u32,
}

#[derive(Debug)]
struct OpenSession {
    id: Uuid,
    user: u32,
    remaining: u32,
}

impl Filler {
    /// Creates a generator of `total` events (unlimited if `None`) with `per_session` events
    /// in each session but the last, and one open session per user.
    #[must_use]
    pub fn new(total: Option<u64>, per_session: u32, users: u32, seed: u64) -> Self {
        let mut filler = Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            per_session: per_session.max(1),
            unassigned: total,
            open: Vec::new(),
            sessions: 0,
            users: users.max(1),
        };
        for user in 0..filler.users {
            let session = filler.start(user);
            filler.open.extend(session);
        }
        filler
    }

    /// Returns the next event, which happens `now`; `None` after the last.
    pub fn next(&mut self, now: Timestamp) -> Option<SyntheticEvent> {
        if self.open.is_empty() {
            return None;
        }
        let slot = self.rng.random_range(0..self.open.len());
        let session = &mut self.open[slot];
        let (id, user) = (session.id, session.user);
        session.remaining -= 1;
        if session.remaining == 0 {
            match self.start(user) {
                Some(next) => self.open[slot] = next,
                None => drop(self.open.swap_remove(slot)),
            }
        }
        Some(SyntheticEvent {
            user,
            session: id,
            kind: EventKind::Activity,
            at: now,
        })
    }

    /// Returns the number of sessions started.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.sessions
    }

    /// Starts the user's next session, unless all events are assigned.
    fn start(&mut self, user: u32) -> Option<OpenSession> {
        let mut events = self.per_session;
        if let Some(unassigned) = &mut self.unassigned {
            events = events.min(u32::try_from(*unassigned).unwrap_or(u32::MAX));
            *unassigned -= u64::from(events);
        }
        if events == 0 {
            return None;
        }
        self.sessions += 1;
        Some(OpenSession {
            id: Builder::from_random_bytes(self.rng.random()).into_uuid(),
            user,
            remaining: events,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn events(mut filler: Filler) -> Vec<SyntheticEvent> {
        std::iter::from_fn(|| filler.next(Timestamp::from_millis(0))).collect()
    }

    proptest! {
        #[test]
        fn every_session_has_the_requested_number_of_events(
            total in 1..2_000_u64, per_session in 1..50_u32, users in 1..40_u32, seed: u64
        ) {
            let events = events(Filler::new(Some(total), per_session, users, seed));
            prop_assert_eq!(events.len() as u64, total);
            let mut counts = BTreeMap::<Uuid, u64>::new();
            for event in &events {
                *counts.entry(event.session).or_default() += 1;
            }
            let per_session = u64::from(per_session);
            let full = counts.values().filter(|count| **count == per_session).count();
            prop_assert_eq!(counts.len() as u64, total.div_ceil(per_session));
            prop_assert_eq!(full as u64, total / per_session);
        }

        #[test]
        fn a_seed_reproduces_the_events(seed: u64) {
            let make = |seed| events(Filler::new(Some(100), 6, 7, seed));
            prop_assert_eq!(make(seed), make(seed));
            prop_assert_ne!(make(seed), make(seed.wrapping_add(1)));
        }
    }

    #[test]
    fn a_user_has_one_session_at_a_time_and_sessions_interleave() {
        let users = 20;
        let mut open = BTreeMap::<u32, (Uuid, u32)>::new();
        let mut most_open = 0;
        for event in events(Filler::new(Some(6 * 200), 6, users, 1)) {
            let (session, count) = open.entry(event.user).or_insert((event.session, 0));
            assert_eq!(*session, event.session, "of user {}", event.user);
            *count += 1;
            if *count == 6 {
                open.remove(&event.user);
            }
            most_open = most_open.max(open.len());
        }
        assert!(most_open > 10, "only {most_open} at once");
    }

    #[test]
    fn events_are_unlimited_without_a_total() {
        let mut filler = Filler::new(None, 1, 1, 0);
        for _ in 0..1_000 {
            assert!(filler.next(Timestamp::from_millis(0)).is_some());
        }
        assert_eq!(filler.sessions(), 1_001);
    }
}
