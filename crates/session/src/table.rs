//! The live sessions of one partition.
//!
//! A [`SessionTable`] is a function of its inputs: it reads no clock, does no I/O
//! and draws no random numbers, and its outputs do not depend on the order of
//! a hash table. It appends its outputs to the caller's buffer as [`Effect`](super::Effect)s.
//!
//! The endings are those of the events sorted by event time and folded one after the other, in
//! whatever order they are applied, as long as none is displaced by more than the allowed lateness.
//!
//! | part | file |
//! |---|---|
//! | events | `table/events.rs` |
//! | bursts of events | `table/burst.rs` |
//! | events of unknown and ended sessions | `table/start.rs` |
//! | events that wait for the end of a session | `table/waiting.rs` |
//! | logouts and revocations | `table/cut.rs` |
//! | logouts and revocations of many sessions | `table/sweep.rs` |
//! | logouts and revocations that ended nothing | `table/unmatched.rs` |
//! | the limit of a user's sessions | `table/limit.rs` |
//! | endings, and how long they are remembered | `table/end.rs` |
//! | time | `table/expiry.rs` |
//! | checkpoint records | `table/flush.rs` |
//! | restore | `table/restore.rs` |
//! | queries | `table/lookup.rs` |

mod burst;
mod cut;
mod cut_offs;
mod due;
mod end;
mod events;
mod expiry;
mod flush;
mod limit;
mod lookup;
mod mark;
mod restore;
mod start;
mod sweep;
mod unmatched;
mod unmatched_ends;
mod waiting;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashTable;

use super::deferred::DeferredEvent;
use super::id::{SessionId, UserId};
use super::policy::{Policy, PolicyCounts, PolicyIndex, PolicySet};
use super::reason::EndReason;
use super::remembered::Remembered;
use super::slots::{DIRTY, Details, Flags, List, Slot, SlotId, Slots};
use super::time::{Span, Timestamp};
use super::user_sessions::UserIndex;
use super::wheel::Wheel;
use cut_offs::CutOffs;
use due::Due;
use mark::Mark;
use unmatched_ends::UnmatchedEnds;

pub use burst::LoggedEvent;
pub use lookup::{EndingCount, LiveSession, Lookup};

/// Settings of a table.
#[derive(Clone, Debug)]
pub struct TableConfig {
    /// By how much events may be out of order: a session waits that long after its deadline for
    /// activity that happened before it. Counts only up to the timeouts of a policy.
    pub allowed_lateness: Span,
    /// How long after a logout, revocation, rotation or session limit activity counts as traffic that
    /// was under way. Counts as the allowed lateness at least.
    pub end_grace: Span,
    /// How long an ending, or a revocation of many sessions, is remembered at least.
    pub remember_endings: Span,
    /// The bound on remembered endings. At the bound, the oldest are forgotten early.
    pub max_remembered: usize,
    /// The bound on remembered revocations of many sessions. At the bound, the oldest is forgotten early,
    /// after it has been checked against all live sessions.
    pub max_cut_offs: usize,
    /// How far an event time may be ahead of the Kafka timestamp of its record.
    pub max_future_skew: Span,
    /// How long a session's checkpoint record may be out of date.
    pub slack: Span,
    /// The bound on live sessions. At the bound, events that would start a session are refused;
    /// live sessions go on.
    pub max_sessions: usize,
    /// The key of the hash over session ids: secret, random per process.
    pub hash_key: (u64, u64),
}

impl Default for TableConfig {
    fn default() -> Self {
        Self {
            allowed_lateness: Span::from_secs(5),
            end_grace: Span::from_secs(30),
            remember_endings: Span::from_secs(600),
            max_remembered: 1_000_000,
            max_cut_offs: 10_000,
            max_future_skew: Span::from_secs(60),
            slack: Span::from_secs(60),
            max_sessions: 10_000_000,
            hash_key: (0, 0),
        }
    }
}

/// The outcome of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The event was applied, or waits for the end of its session.
    Accepted,
    /// The session of the event is over: the event was dropped, so that it neither revives
    /// the session nor ends it again.
    Late,
    /// The session that the event would end has ended already, and its ending is remembered.
    AlreadyEnded,
    /// The activity was under way when its session ended: it was dropped.
    InFlight,
    /// The event would have ended an earlier session of the id, and came more than the allowed
    /// lateness later: it was dropped.
    Stale,
    /// The event would have started a session beyond [`TableConfig::max_sessions`], or while the
    /// table [may not grow](SessionTable::set_may_grow).
    Refused,
}

/// Counts since the last [`SessionTable::take_counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sessions started.
    pub started: u64,
    /// Events dropped as [`Applied::Late`].
    pub late: u64,
    /// Events dropped as [`Applied::AlreadyEnded`].
    pub already_ended: u64,
    /// Events dropped as [`Applied::InFlight`].
    pub in_flight: u64,
    /// Events dropped as [`Applied::Stale`].
    pub stale: u64,
    /// Sessions started by activity after their id had been revoked.
    pub revived: u64,
    /// Endings and revocations of many sessions that were forgotten early because of a bound.
    pub forgotten_early: u64,
    /// Deferred events left out because too many waited for one session.
    pub deferred_dropped: u64,
    /// Event times that were clamped because they were too far in the future.
    pub clamped: u64,
    /// Events refused as [`Applied::Refused`].
    pub refused: u64,
}

/// The live sessions of one partition, and their timers.
#[derive(Debug)]
pub struct SessionTable {
    config: TableConfig,
    policies: Arc<PolicySet>,
    /// Live sessions by policy.
    counts: PolicyCounts,
    slots: Slots,
    index: HashTable<SlotId>,
    wheel: Wheel,
    watermark: Timestamp,
    /// See [`SessionTable::set_upstream`].
    upstream: Timestamp,
    /// Due sessions beyond the limit of an advance, in order. Those that have ended or moved on since
    /// are no longer held in the wheel.
    overdue: VecDeque<Due>,
    /// Sessions whose checkpoint record is out of date, oldest first.
    dirty: List<DIRTY>,
    /// Positions over time, from which the age of a dirty session follows.
    marks: VecDeque<Mark>,
    /// Slots that the next flush stores; some may have been freed since.
    pending: Vec<SlotId>,
    /// Ids whose record the next flush writes or deletes if they are not live then.
    ended: Vec<SessionId>,
    remembered: Remembered,
    /// Events at or past the deadline of their session.
    deferred: BTreeMap<SlotId, Vec<DeferredEvent>>,
    cut_offs: CutOffs,
    unmatched: UnmatchedEnds,
    users: UserIndex,
    counters: Counters,
    /// See [`SessionTable::set_may_grow`].
    may_grow: bool,
}

/// A session id and its hash.
#[derive(Debug)]
struct Key {
    id: SessionId,
    hash: u64,
}

impl SessionTable {
    /// Creates an empty table with this watermark; [`Timestamp::MIN`] if it is unknown.
    #[must_use]
    pub fn new(config: TableConfig, policies: Arc<PolicySet>, watermark: Timestamp) -> Self {
        Self {
            remembered: Remembered::new(config.remember_endings, config.hash_key),
            config,
            counts: PolicyCounts::new(&policies),
            policies,
            slots: Slots::default(),
            index: HashTable::new(),
            wheel: Wheel::new(watermark),
            watermark,
            upstream: Timestamp::MAX,
            overdue: VecDeque::new(),
            dirty: List::default(),
            marks: VecDeque::new(),
            pending: Vec::new(),
            ended: Vec::new(),
            deferred: BTreeMap::new(),
            cut_offs: CutOffs::default(),
            unmatched: UnmatchedEnds::default(),
            users: UserIndex::default(),
            counters: Counters::default(),
            may_grow: true,
        }
    }

    /// Sets whether more memory may be taken for sessions. While not, events that would start a
    /// session are refused once no place of an earlier one is free.
    pub fn set_may_grow(&mut self, may_grow: bool) {
        self.may_grow = may_grow;
    }

    /// Returns the number of live sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns the number of remembered endings.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.remembered.len()
    }

    /// Returns whether no session is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the latest watermark given to [`SessionTable::advance`].
    #[must_use]
    pub fn watermark(&self) -> Timestamp {
        self.watermark
    }

    /// Sets the time up to which everything that comes to the log by way of others has been applied;
    /// [`Timestamp::MAX`], the default, if nothing does.
    ///
    /// An event that was appended later does not prove that its session was idle before: earlier events
    /// may still be on their way.
    pub fn set_upstream(&mut self, until: Timestamp) {
        self.upstream = until;
    }

    /// Iterates over the active policies in order of precedence, each with its number of live
    /// sessions. The counts are kept up to date: the call costs nothing per session.
    pub fn sessions_by_policy(&self) -> impl Iterator<Item = (&Arc<Policy>, usize)> {
        self.policies.iter().zip(self.counts.counts())
    }

    /// Returns and resets the counters.
    pub fn take_counters(&mut self) -> Counters {
        core::mem::take(&mut self.counters)
    }

    fn key(&self, id: SessionId) -> Key {
        let hash = id.keyed_hash(self.config.hash_key);
        Key { id, hash }
    }

    fn find(&self, key: &Key) -> Option<SlotId> {
        self.index
            .find(key.hash, |&slot| self.slots[slot].id == key.id)
            .copied()
    }

    /// Allocates a slot for a session that is not in the table yet.
    fn occupy(&mut self, key: &Key, user: UserId) -> SlotId {
        let slot = self.slots.insert(key.id.clone(), user);
        self.counts.enter(PolicyIndex::default());
        let (slots, secret) = (&self.slots, self.config.hash_key);
        self.index
            .insert_unique(key.hash, slot, |&slot| slots[slot].id.keyed_hash(secret));
        slot
    }

    /// Removes the session of `slot` from the index and from every list.
    fn vacate(&mut self, slot: SlotId) -> (Slot, Details) {
        let hash = self.slots[slot].id.keyed_hash(self.config.hash_key);
        if let Ok(entry) = self.index.find_entry(hash, |&found| found == slot) {
            entry.remove();
        }
        self.leave_user(slot);
        self.users.remove_check(slot);
        self.wheel.disarm(&mut self.slots, slot);
        self.mark_clean(slot);
        self.counts.leave(self.slots[slot].policy);
        self.slots.remove(slot)
    }

    /// Returns the events that wait for the end of the session of `slot`, and no longer do.
    fn take_deferred(&mut self, slot: SlotId) -> Vec<DeferredEvent> {
        if !self.slots[slot].flags.has(Flags::DEFERRED) {
            return Vec::new();
        }
        self.slots[slot].flags.set(Flags::DEFERRED, false);
        self.deferred.remove(&slot).unwrap_or_default()
    }

    fn policy(&self, slot: SlotId) -> &Arc<Policy> {
        self.policies.get(self.slots[slot].policy)
    }

    fn deadline(&self, slot: SlotId) -> (Timestamp, EndReason) {
        let session = &self.slots[slot];
        self.policy(slot)
            .deadline(session.authenticated_at, session.last_activity)
    }

    /// Returns how long after its deadline the session waits for events.
    fn lateness(&self, slot: SlotId) -> Span {
        self.policy(slot).lateness(self.config.allowed_lateness)
    }

    /// Returns until when activity after an end at `ended_at` was under way.
    fn grace_end(&self, ended_at: Timestamp) -> Timestamp {
        ended_at + self.config.end_grace.max(self.config.allowed_lateness)
    }
}
