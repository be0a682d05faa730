//! Events to fill a topic with: as many as were asked for, as many a session, of many
//! sessions at once.
//!
//! Pure, and the same for the same seed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::{Builder, Uuid};

use crate::demo::synthetic::Action;
use crate::session::{EventKind, Timestamp};

/// Sessions that are filled up in turn, at random.
#[derive(Debug)]
pub struct Filler {
    rng: ChaCha8Rng,
    per_session: u32,
    /// Events to come, if there is an end.
    left: Option<u64>,
    live: Vec<Session>,
    sessions: u64,
    users: u32,
}

#[derive(Debug)]
struct Session {
    id: Uuid,
    user: u32,
    left: u32,
}

impl Filler {
    /// `total` events (for ever without it), `per_session` for each session but the
    /// last, `users` sessions at a time: one of each user.
    #[must_use]
    pub fn new(total: Option<u64>, per_session: u32, users: u32, seed: u64) -> Self {
        let mut filler = Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            per_session: per_session.max(1),
            left: total,
            live: Vec::new(),
            sessions: 0,
            users: users.max(1),
        };
        for user in 0..filler.users {
            let session = filler.start(user);
            filler.live.extend(session);
        }
        filler
    }

    /// The next event, `now`; `None` once all are made.
    pub fn next(&mut self, now: Timestamp) -> Option<Action> {
        if self.live.is_empty() {
            return None;
        }
        let slot = self.rng.random_range(0..self.live.len());
        let session = &mut self.live[slot];
        let (id, user) = (session.id, session.user);
        session.left -= 1;
        if session.left == 0 {
            match self.start(user) {
                Some(next) => self.live[slot] = next,
                None => drop(self.live.swap_remove(slot)),
            }
        }
        Some(Action {
            user,
            session: id,
            kind: EventKind::Activity,
            at: now,
        })
    }

    /// How many sessions have been started.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.sessions
    }

    /// The user's next session, unless all events have theirs.
    fn start(&mut self, user: u32) -> Option<Session> {
        let mut events = self.per_session;
        if let Some(left) = &mut self.left {
            events = events.min(u32::try_from(*left).unwrap_or(u32::MAX));
            *left -= u64::from(events);
        }
        if events == 0 {
            return None;
        }
        self.sessions += 1;
        Some(Session {
            id: Builder::from_random_bytes(self.rng.random()).into_uuid(),
            user,
            left: events,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn events(mut filler: Filler) -> Vec<Action> {
        let actions = std::iter::from_fn(|| filler.next(Timestamp::from_millis(0)));
        actions.collect()
    }

    proptest! {
        #[test]
        fn every_session_gets_as_many_events_as_asked_for(
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
        fn the_seed_decides(seed: u64) {
            let make = |seed| events(Filler::new(Some(100), 6, 7, seed));
            prop_assert_eq!(make(seed), make(seed));
            prop_assert_ne!(make(seed), make(seed.wrapping_add(1)));
        }
    }

    #[test]
    fn a_user_has_one_session_at_a_time_and_all_take_turns() {
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
    fn without_a_total_it_goes_on() {
        let mut filler = Filler::new(None, 1, 1, 0);
        for _ in 0..1_000 {
            assert!(filler.next(Timestamp::from_millis(0)).is_some());
        }
        assert_eq!(filler.sessions(), 1_001);
    }
}
