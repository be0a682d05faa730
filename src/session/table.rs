//! The live sessions of one partition.
//!
//! A [`SessionTable`] is a function of its inputs: it reads no clock, does no I/O
//! and draws no random numbers, and nothing in its outputs depends on the order of
//! a hash map. What it wants done it appends to the caller's buffer as [`Effect`]s.
//!
//! | part | file |
//! |---|---|
//! | what an event does to a session | this one |
//! | what the passing of time does | `table/expiry.rs` |
//! | what goes to the checkpoint topic, and when | `table/flush.rs` |
//! | how a table is built again from there | `table/restore.rs` |

mod expiry;
mod flush;
mod restore;

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashTable;

use super::effect::{Effect, Ending, Reason};
use super::event::{Event, EventKind, Subject};
use super::id::{Packed, SessionId, UserRef};
use super::policy::{Policy, PolicySet};
use super::slots::{DIRTY, Flags, List, Slot, SlotId, Slots};
use super::time::{Span, Timestamp};
use super::wheel::Wheel;

/// What a table is told once and for all.
#[derive(Clone, Debug)]
pub struct TableConfig {
    /// How long after its deadline a session may still be saved by activity that
    /// happened before it and came late.
    pub allowed_lateness: Span,
    /// How far an event's time may lie ahead of its record's Kafka timestamp.
    pub max_future_skew: Span,
    /// How long a session's checkpoint record may be out of date.
    pub slack: Span,
    /// The most sessions that may live at once. At the bound, events that would
    /// start another are refused; sessions that run are not touched.
    pub max_sessions: usize,
    /// The key of the hash over session ids: secret, random per process.
    pub hash_key: (u64, u64),
}

impl Default for TableConfig {
    fn default() -> Self {
        Self {
            allowed_lateness: Span::from_secs(5),
            max_future_skew: Span::from_secs(60),
            slack: Span::from_secs(60),
            max_sessions: 10_000_000,
            hash_key: (0, 0),
        }
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It counted.
    Accepted,
    /// Its session would have been over already: dropped, so that it neither brings
    /// the session back nor ends it again.
    Late,
    /// It would have started a session beyond [`TableConfig::max_sessions`].
    Refused,
}

/// How often things happened, since [`SessionTable::take_tally`] was last called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions started.
    pub started: u64,
    /// Events dropped as [`Applied::Late`].
    pub late: u64,
    /// Event times moved back because they lay too far in the future.
    pub clamped: u64,
    /// Events refused as [`Applied::Refused`].
    pub refused: u64,
}

/// The live sessions of one partition, and when each of them ends.
#[derive(Debug)]
pub struct SessionTable {
    config: TableConfig,
    policies: Arc<PolicySet>,
    slots: Slots,
    index: HashTable<SlotId>,
    wheel: Wheel,
    watermark: Timestamp,
    /// Sessions whose checkpoint record is out of date, the longest first.
    dirty: List<DIRTY>,
    /// When which offset had been reached, to tell how long a session is dirty.
    marks: VecDeque<flush::Mark>,
    /// Slots that the next flush has to store; some may have been freed since.
    pending: Vec<SlotId>,
    /// Ended sessions of which the checkpoint topic still holds a record.
    forgotten: Vec<SessionId>,
    tally: Tally,
}

impl SessionTable {
    /// An empty table whose watermark is `watermark`: [`Timestamp::MIN`] if nothing
    /// is known of what has been read.
    #[must_use]
    pub fn new(config: TableConfig, policies: Arc<PolicySet>, watermark: Timestamp) -> Self {
        Self {
            config,
            policies,
            slots: Slots::default(),
            index: HashTable::new(),
            wheel: Wheel::new(watermark),
            watermark,
            dirty: List::default(),
            marks: VecDeque::new(),
            pending: Vec::new(),
            forgotten: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Applies the event that the record at `offset` carries.
    ///
    /// `record_timestamp` is the record's own Kafka timestamp, capped at the present:
    /// an event's time counts only up to [`TableConfig::max_future_skew`] beyond it.
    pub fn apply(
        &mut self,
        event: Event<'_>,
        offset: i64,
        record_timestamp: Timestamp,
        out: &mut Vec<Effect>,
    ) -> Applied {
        let at = self.clamp(event.at, record_timestamp);
        match event.subject {
            Subject::Session { id, user } => {
                let id = Packed::new(id);
                match self.find(&id) {
                    Some(slot) => self.apply_to_live(slot, id, user, at, event, offset, out),
                    None => self.apply_to_unknown(id, user, at, event, offset, out),
                }
            }
            Subject::EverySessionOf(user) => {
                self.end_every_session_of(user, at, event.kind, out);
                Applied::Accepted
            }
        }
    }

    /// How many sessions live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no session lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The latest time that [`SessionTable::advance`] was told of.
    #[must_use]
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// What happened since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// No client's clock can make a session immortal: a time too far ahead of the
    /// record's becomes the record's.
    fn clamp(&mut self, at: Timestamp, record_timestamp: Timestamp) -> Timestamp {
        if at > record_timestamp + self.config.max_future_skew {
            self.tally.clamped += 1;
            record_timestamp
        } else {
            at
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one event, taken apart once"
    )]
    fn apply_to_live(
        &mut self,
        slot: SlotId,
        id: SessionId,
        user: Option<UserRef<'_>>,
        at: Timestamp,
        event: Event<'_>,
        offset: i64,
        out: &mut Vec<Effect>,
    ) -> Applied {
        let session = &self.slots[slot];
        let policy = self.policies.get(session.policy);
        let (deadline, reason) = policy.deadline(session.started_at, session.last_activity);
        if at >= deadline {
            self.end(slot, reason, deadline, out);
            return self.apply_to_unknown(id, user, at, event, offset, out);
        }
        match event.kind {
            EventKind::Activity => self.touch(slot, at, offset),
            EventKind::Login => self.reauthenticate(slot, user, at),
            EventKind::Logout => self.end(slot, Reason::Logout, at, out),
            EventKind::Revoke => self.end(slot, Reason::Revoked, at, out),
        }
        if let (Some(attributes), EventKind::Activity | EventKind::Login) =
            (event.attributes, event.kind)
        {
            self.replace_attributes(slot, attributes);
        }
        Applied::Accepted
    }

    /// Activity: the one thing that happens all the time. One write to the slot;
    /// the timer stays where it is.
    fn touch(&mut self, slot: SlotId, at: Timestamp, offset: i64) {
        let session = &mut self.slots[slot];
        if at <= session.last_activity {
            return;
        }
        let before = session.last_activity;
        session.last_activity = at;
        if session.flags.has(Flags::WARNED) {
            let policy = self.policies.get(session.policy);
            let moved = policy.deadline(session.started_at, at)
                > policy.deadline(session.started_at, before);
            if moved {
                // The warning is withdrawn; the timer may now stand at the deadline,
                // behind the next warning.
                session.flags.set(Flags::WARNED, false);
                self.arm(slot);
            }
        }
        self.mark_dirty(slot, offset);
    }

    /// A login restarts both clocks of a running session.
    fn reauthenticate(&mut self, slot: SlotId, user: Option<UserRef<'_>>, at: Timestamp) {
        let session = &mut self.slots[slot];
        session.started_at = session.started_at.max(at);
        session.last_activity = session.last_activity.max(at);
        session.flags.set(Flags::WARNED, false);
        if let Some(user) = user.map(UserRef::to_owned) {
            session.flags.set(Flags::USER_IS_NUMBER, user.number);
            session.user = user.text;
        }
        self.mark_pending(slot);
        self.resolve_policy(slot);
    }

    fn replace_attributes(&mut self, slot: SlotId, attributes: &super::Attributes) {
        let session = &mut self.slots[slot];
        let attributes = Some(attributes).filter(|all| !all.is_empty());
        if session.attributes.as_deref() != attributes {
            session.attributes = attributes.cloned().map(Box::new);
            self.mark_pending(slot);
            self.resolve_policy(slot);
        }
    }

    fn apply_to_unknown(
        &mut self,
        id: SessionId,
        user: Option<UserRef<'_>>,
        at: Timestamp,
        event: Event<'_>,
        offset: i64,
        out: &mut Vec<Effect>,
    ) -> Applied {
        let user_text = user.map_or("", |user| user.text);
        let index = self.policies.resolve(user_text, event.attributes);
        let policy = self.policies.get(index);
        let (deadline, _) = policy.deadline(at, at);
        if deadline + self.config.allowed_lateness <= self.watermark {
            self.tally.late += 1;
            return Applied::Late;
        }
        let reason = match event.kind {
            EventKind::Activity | EventKind::Login => {
                return self.start(id, user, at, event.attributes, offset);
            }
            EventKind::Logout => Reason::Logout,
            EventKind::Revoke => Reason::Revoked,
        };
        // A token may exist that no event told of: end it all the same.
        out.push(Effect::Ended(Box::new(Ending {
            session: id,
            user: user.map(UserRef::to_owned),
            reason,
            policy: Arc::clone(policy),
            started_at: None,
            last_activity: None,
            ended_at: at,
            start_offset: offset,
            attributes: event.attributes.cloned(),
        })));
        Applied::Accepted
    }

    fn start(
        &mut self,
        id: SessionId,
        user: Option<UserRef<'_>>,
        at: Timestamp,
        attributes: Option<&super::Attributes>,
        offset: i64,
    ) -> Applied {
        if self.slots.len() >= self.config.max_sessions {
            self.tally.refused += 1;
            return Applied::Refused;
        }
        let user = user.unwrap_or(UserRef {
            text: "",
            number: false,
        });
        let slot = self.occupy(id, user.to_owned());
        let session = &mut self.slots[slot];
        session.started_at = at;
        session.last_activity = at;
        session.start_offset = offset;
        session.attributes = attributes
            .filter(|all| !all.is_empty())
            .cloned()
            .map(Box::new);
        self.mark_pending(slot);
        self.resolve_policy(slot);
        self.tally.started += 1;
        Applied::Accepted
    }

    /// Every live session of `user` ends; a scan, for it is rare.
    fn end_every_session_of(
        &mut self,
        user: UserRef<'_>,
        at: Timestamp,
        kind: EventKind,
        out: &mut Vec<Effect>,
    ) {
        let reason = match kind {
            EventKind::Revoke => Reason::Revoked,
            EventKind::Activity | EventKind::Login | EventKind::Logout => Reason::Logout,
        };
        let user = user.to_owned();
        let mut found: Vec<(i64, SlotId)> = self
            .slots
            .live()
            .filter(|(_, session)| {
                session.user == user.text && session.flags.has(Flags::USER_IS_NUMBER) == user.number
            })
            .map(|(slot, session)| (session.start_offset, slot))
            .collect();
        found.sort_unstable();
        for (_, slot) in found {
            let (deadline, due_to) = self.deadline(slot);
            if at >= deadline {
                self.end(slot, due_to, deadline, out);
            } else {
                self.end(slot, reason, at, out);
            }
        }
    }

    /// The session of `slot` is over.
    fn end(&mut self, slot: SlotId, reason: Reason, ended_at: Timestamp, out: &mut Vec<Effect>) {
        let policy = Arc::clone(self.policies.get(self.slots[slot].policy));
        let session = self.vacate(slot);
        if session.flags.has(Flags::STORED) {
            self.forgotten.push(session.id.clone());
        }
        out.push(Effect::Ended(Box::new(Ending {
            user: Some(session.user_id()),
            session: session.id,
            reason,
            policy,
            started_at: Some(session.started_at),
            last_activity: Some(session.last_activity),
            ended_at,
            start_offset: session.start_offset,
            attributes: session.attributes.map(|all| *all),
        })));
    }

    fn find(&self, id: &SessionId) -> Option<SlotId> {
        let hash = id.keyed_hash(self.config.hash_key);
        self.index
            .find(hash, |&slot| self.slots[slot].id == *id)
            .copied()
    }

    /// Takes a slot for a session that is not in the table yet.
    fn occupy(&mut self, id: SessionId, user: super::UserId) -> SlotId {
        let key = self.config.hash_key;
        let hash = id.keyed_hash(key);
        let slot = self.slots.insert(id, user, super::PolicyIndex::default());
        let slots = &self.slots;
        self.index
            .insert_unique(hash, slot, |&slot| slots[slot].id.keyed_hash(key));
        slot
    }

    /// Takes the session of `slot` out of every list.
    fn vacate(&mut self, slot: SlotId) -> Slot {
        let hash = self.slots[slot].id.keyed_hash(self.config.hash_key);
        if let Ok(entry) = self.index.find_entry(hash, |&found| found == slot) {
            entry.remove();
        }
        self.wheel.disarm(&mut self.slots, slot);
        self.mark_clean(slot);
        self.slots.remove(slot)
    }

    fn policy(&self, slot: SlotId) -> &Arc<Policy> {
        self.policies.get(self.slots[slot].policy)
    }

    fn deadline(&self, slot: SlotId) -> (Timestamp, Reason) {
        let session = &self.slots[slot];
        self.policy(slot)
            .deadline(session.started_at, session.last_activity)
    }
}
