//! The live sessions of one partition.
//!
//! A [`SessionTable`] is a function of its inputs: it reads no clock, does no I/O
//! and draws no random numbers, and nothing in its outputs depends on the order of
//! a hash map. What it wants done it appends to the caller's buffer as [`Effect`]s.
//!
//! | part | file |
//! |---|---|
//! | what an event does to a session | `table/events.rs` |
//! | many events at once, at the speed of memory | `table/burst.rs` |
//! | what the passing of time does | `table/expiry.rs` |
//! | what goes to the checkpoint topic, and when | `table/flush.rs` |
//! | how a table is built again from there | `table/restore.rs` |
//! | looking at sessions without touching them | `table/lookup.rs` |

mod burst;
mod due;
mod events;
mod expiry;
mod flush;
mod lookup;
mod mark;
mod restore;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashTable;

use super::id::{SessionId, UserId};
use super::policy::{Policy, PolicyCounts, PolicyIndex, PolicySet};
use super::reason::Reason;
use super::slots::{DIRTY, Details, List, Slot, SlotId, Slots};
use super::time::{Span, Timestamp};
use super::wheel::Wheel;
use due::Due;
use mark::Mark;

pub use burst::LoggedEvent;
pub use lookup::LiveSession;

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

/// How often things happened, since [`SessionTable::take_counters`] was last called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
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
    /// How many sessions live under each of them.
    counts: PolicyCounts,
    slots: Slots,
    index: HashTable<SlotId>,
    wheel: Wheel,
    watermark: Timestamp,
    /// Sessions that have fallen due and were over the limit of an advance, in order.
    /// Some may have ended or moved on since: those the wheel does not hold any more.
    overdue: VecDeque<Due>,
    /// Sessions whose checkpoint record is out of date, the longest first.
    dirty: List<DIRTY>,
    /// When which offset had been reached, to tell how long a session is dirty.
    marks: VecDeque<Mark>,
    /// Slots that the next flush has to store; some may have been freed since.
    pending: Vec<SlotId>,
    /// Ended sessions of which the checkpoint topic still holds a record.
    forgotten: Vec<SessionId>,
    counters: Counters,
}

/// A session id as the index looks for it.
#[derive(Debug)]
struct Key {
    id: SessionId,
    hash: u64,
}

impl SessionTable {
    /// An empty table whose watermark is `watermark`: [`Timestamp::MIN`] if nothing
    /// is known of what has been read.
    #[must_use]
    pub fn new(config: TableConfig, policies: Arc<PolicySet>, watermark: Timestamp) -> Self {
        Self {
            config,
            counts: PolicyCounts::new(&policies),
            policies,
            slots: Slots::default(),
            index: HashTable::new(),
            wheel: Wheel::new(watermark),
            watermark,
            overdue: VecDeque::new(),
            dirty: List::default(),
            marks: VecDeque::new(),
            pending: Vec::new(),
            forgotten: Vec::new(),
            counters: Counters::default(),
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

    /// The policies in force, the most important first, each with how many sessions
    /// live under it. Counted as they come and go: asking costs nothing per session.
    pub fn sessions_by_policy(&self) -> impl Iterator<Item = (&Arc<Policy>, usize)> {
        self.policies.iter().zip(self.counts.counts())
    }

    /// What happened since the last call.
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

    /// Takes a slot for a session that is not in the table yet.
    fn occupy(&mut self, key: &Key, user: UserId) -> SlotId {
        let slot = self.slots.insert(key.id.clone(), user);
        self.counts.enter(PolicyIndex::default());
        let (slots, secret) = (&self.slots, self.config.hash_key);
        self.index
            .insert_unique(key.hash, slot, |&slot| slots[slot].id.keyed_hash(secret));
        slot
    }

    /// Takes the session of `slot` out of every list.
    fn vacate(&mut self, slot: SlotId) -> (Slot, Details) {
        let hash = self.slots[slot].id.keyed_hash(self.config.hash_key);
        if let Ok(entry) = self.index.find_entry(hash, |&found| found == slot) {
            entry.remove();
        }
        self.wheel.disarm(&mut self.slots, slot);
        self.mark_clean(slot);
        self.counts.leave(self.slots[slot].policy);
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
