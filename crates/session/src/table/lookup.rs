//! Queries of live sessions.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::SessionTable;
use crate::attributes::Attributes;
use crate::checkpoint::RememberedEnding;
use crate::cut_off::CutOffScope;
use crate::id::{SessionId, UserId};
use crate::policy::{Policy, PolicySet};
use crate::reason::EndReason;
use crate::slots::{Flags, SlotId};
use crate::time::Timestamp;

/// The present state of a live session.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveSession {
    /// The session id.
    pub session: SessionId,
    /// The user of the session.
    pub user: UserId,
    /// The policy that applies.
    pub policy: Arc<Policy>,
    /// The earliest event time.
    pub started_at: Timestamp,
    /// The time of the latest login; `started_at` if there was none.
    pub authenticated_at: Timestamp,
    /// The latest event time seen.
    pub last_activity: Timestamp,
    /// When and why it ends without further activity; `None` while its policy is suspended.
    pub end: Option<(Timestamp, EndReason)>,
    /// The attributes of the session.
    pub attributes: Option<Attributes>,
}

/// What is known of a session id.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// The session is live.
    Live(Box<LiveSession>),
    /// The latest session of the id has ended.
    Ended(RememberedEnding),
    /// No session of the id is live, and no ending is remembered.
    Unknown,
}

/// How many live sessions a change of the policies ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndingCount {
    /// The live sessions.
    pub live: u64,
    /// Those whose deadline the change moves to the time in question or before it.
    pub ending: u64,
}

impl SessionTable {
    /// Returns what is known of this session id.
    #[must_use]
    pub fn look_up(&self, id: &str) -> Lookup {
        let key = self.key(id.into());
        if let Some(slot) = self.find(&key) {
            return Lookup::Live(Box::new(self.live_session(slot)));
        }
        let ended = self.remembered.get(&key.id, key.hash);
        ended.map_or(Lookup::Unknown, Lookup::Ended)
    }

    /// Scans up to `slots` slots from `start` on and appends the sessions of `user` to `found`, up to
    /// a length of `room`. Returns where to resume; `None` at the end of the table.
    ///
    /// The table may change between the steps of a scan: sessions never move, so a session that is
    /// live throughout is found exactly once.
    pub fn search(
        &self,
        user: &UserId,
        start: u32,
        slots: usize,
        room: usize,
        found: &mut Vec<LiveSession>,
    ) -> Option<u32> {
        let mut next = start;
        for slot in self.slots.numbers(start).take(slots) {
            if self.is_of(slot, user) {
                if found.len() >= room {
                    return Some(slot);
                }
                found.push(self.live_session(slot));
            }
            next = slot + 1;
        }
        self.slots.numbers(next).next()
    }

    /// Counts the live sessions in `scope`, without `except`, on up to `slots` slots from `start` on.
    /// Returns the number and where to resume; `None` at the end of the table.
    #[must_use]
    pub fn count(
        &self,
        scope: &CutOffScope,
        except: Option<&SessionId>,
        start: u32,
        slots: usize,
    ) -> (u64, Option<u32>) {
        let (mut count, mut next) = (0, start);
        for slot in self.slots.numbers(start).take(slots) {
            let live = self.slots[slot].flags.has(Flags::LIVE);
            count += u64::from(live && self.is_in_scope(slot, scope, except));
            next = slot + 1;
        }
        (count, self.slots.numbers(next).next())
    }

    /// Returns the active policies.
    #[must_use]
    pub fn policies(&self) -> &Arc<PolicySet> {
        &self.policies
    }

    /// Counts the live sessions that would end by `horizon` under `policies` without further activity,
    /// and do not under the active ones, on up to `slots` slots from `start` on. Adds them to `count`
    /// and returns where to resume; `None` at the end of the table.
    #[must_use]
    pub fn count_ending(
        &self,
        policies: &PolicySet,
        horizon: Timestamp,
        (start, slots): (u32, usize),
        count: &mut EndingCount,
    ) -> Option<u32> {
        let mut next = start;
        for slot in self.slots.numbers(start).take(slots) {
            if self.slots[slot].flags.has(Flags::LIVE) {
                count.live += 1;
                count.ending += u64::from(self.ends_earlier(slot, policies, horizon));
            }
            next = slot + 1;
        }
        self.slots.numbers(next).next()
    }

    fn ends_earlier(&self, slot: SlotId, policies: &PolicySet, horizon: Timestamp) -> bool {
        if self.deadline(slot).0 <= horizon {
            return false;
        }
        let (session, details) = (&self.slots[slot], self.slots.details(slot));
        let mut buffer = [0; 36];
        let user = details.user.text(&mut buffer);
        let policy = policies.get(policies.resolve(user, details.attributes()));
        let (deadline, _) = policy.deadline(session.authenticated_at, session.last_activity);
        deadline <= horizon
    }

    fn is_of(&self, slot: SlotId, user: &UserId) -> bool {
        let flags = self.slots[slot].flags;
        flags.has(Flags::LIVE)
            && flags.has(Flags::USER_IS_NUMBER) == user.number
            && self.slots.details(slot).user == user.text
    }

    fn live_session(&self, slot: SlotId) -> LiveSession {
        let session = &self.slots[slot];
        let policy = self.policy(slot);
        let end = (!policy.suspend).then(|| self.deadline(slot));
        LiveSession {
            session: session.id.clone(),
            user: self.slots.user_id(slot),
            policy: Arc::clone(policy),
            started_at: self.slots.details(slot).started_at,
            authenticated_at: session.authenticated_at,
            last_activity: session.last_activity,
            end,
            attributes: self.slots.details(slot).attributes().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};

    use super::*;
    use crate::event::{Event, EventKind, Subject};
    use crate::id::UserRef;
    use crate::policy::{Glob, Matcher};
    use crate::table::TableConfig;
    use crate::time::Span;

    const NOON: Timestamp = Timestamp::from_millis(1_764_000_000_000);
    const JOE: UserRef<'_> = UserRef {
        text: "7",
        number: true,
    };

    fn table(sessions: &[(&str, UserRef<'_>)]) -> SessionTable {
        let hour = Policy::built_in(Span::from_secs(3_600), None);
        let policies = Arc::new(PolicySet::new(Vec::new(), hour).unwrap());
        let mut table = SessionTable::new(TableConfig::default(), policies, Timestamp::MIN);
        for (offset, (id, user)) in (0..).zip(sessions) {
            let event = Event {
                subject: Subject::Session {
                    id,
                    user: Some(*user),
                },
                at: NOON,
                kind: EventKind::Activity,
                attributes: None,
                initiator: None,
            };
            table.apply(event, offset, NOON, &mut Vec::new());
        }
        table
    }

    /// A thousand sessions, the first one of joe, the next one of ann, and so on.
    fn table_of_two_users() -> SessionTable {
        let ids: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
        let ann = UserRef {
            text: "ann",
            number: false,
        };
        let users = [JOE, ann];
        let sessions = ids.iter().zip(users.iter().cycle());
        let sessions: Vec<_> = sessions.map(|(id, user)| (id.as_str(), *user)).collect();
        table(&sessions)
    }

    #[test]
    fn a_session_is_found_by_its_id_with_its_next_ending() {
        let table = table(&[("a", JOE)]);
        assert_eq!(table.look_up("b"), Lookup::Unknown);
        let Lookup::Live(found) = table.look_up("a") else {
            panic!("not found");
        };
        assert_eq!(found.user, JOE.to_owned());
        let deadline = NOON + Span::from_secs(3_600);
        assert_eq!(found.end, Some((deadline, EndReason::IdleTimeout)));
    }

    #[test]
    fn a_count_in_steps_counts_each_session_in_scope_once() {
        let table = table_of_two_users();
        let all = CutOffScope::Matching(Attributes::default());
        let of_joe = CutOffScope::User(JOE.to_owned());
        let first = SessionId::new("0");
        for (scope, except, expected) in [
            (&all, None, 1_000),
            (&of_joe, None, 500),
            (&of_joe, Some(&first), 499),
        ] {
            let (mut counted, mut position) = (0, Some(0));
            while let Some(start) = position {
                let (count, next) = table.count(scope, except, start, 7);
                counted += count;
                position = next;
            }
            assert_eq!(counted, expected, "{scope:?}");
        }
    }

    #[test]
    fn a_count_of_endings_is_what_the_change_ends() {
        let mut table = table_of_two_users();
        let short = Policy {
            name: "short".to_string(),
            matcher: Matcher {
                user_ids: [Glob::new("ann")].into(),
                ..Matcher::default()
            },
            ..Policy::built_in(Span::from_secs(60), None)
        };
        let changed = table.policies().with_changes([("short", Some(short))]);
        let changed = Arc::new(changed.unwrap());
        let now = NOON + Span::from_secs(30);
        let count = |table: &SessionTable, seconds| {
            let (mut count, mut position) = (EndingCount::default(), Some(0));
            while let Some(start) = position {
                let horizon = now + Span::from_secs(seconds);
                position = table.count_ending(&changed, horizon, (start, 7), &mut count);
            }
            (count.live, count.ending)
        };
        assert_eq!(count(&table, 29), (1_000, 0));
        assert_eq!(count(&table, 30), (1_000, 500));
        // Those that end anyway do not count.
        assert_eq!(count(&table, 3_570), (1_000, 0));
        let mut effects = Vec::new();
        table.set_policies(Arc::clone(&changed));
        while table.advance(NOON + Span::from_secs(90), 100, &mut effects) {}
        assert_eq!(table.len(), 500);
        assert_eq!(count(&table, 30), (500, 0));
    }

    #[test]
    fn a_scan_in_steps_finds_exactly_the_sessions_of_a_user() {
        let ids: Vec<String> = (0..1_500).map(|number| number.to_string()).collect();
        // The number 7 and the string "7" are different users.
        let text = UserRef {
            text: "7",
            number: false,
        };
        let users = [JOE, text, text];
        let sessions = ids.iter().zip(users.iter().cycle());
        let sessions: Vec<_> = sessions.map(|(id, user)| (id.as_str(), *user)).collect();
        let table = table(&sessions);
        for (slots, room) in [(7, 10_000), (100_000, 10_000), (64, 3)] {
            let (mut found, mut position) = (Vec::new(), Some(0));
            while let Some(start) = position {
                let mut step = Vec::new();
                position = table.search(&JOE.to_owned(), start, slots, room, &mut step);
                assert!(step.len() <= room);
                found.extend(step);
            }
            assert_eq!(found.len(), 500, "{slots} at a time");
            assert!(found.iter().all(|one| one.user == JOE.to_owned()));
        }
    }
}
