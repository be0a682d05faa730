//! Restore of a table from the checkpoint topic and the source.
//!
//! Call in this order: [`restore`](SessionTable::restore) or
//! [`discard`](SessionTable::discard) for each checkpoint record,
//! [`replay`](SessionTable::replay) for each source record from `replay_from` up to
//! the committed offset (or [`assume_active`](SessionTable::assume_active) if those
//! are gone), then live events. A restore emits nothing: the transactions that are being replayed
//! have emitted it already.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Key, SessionTable, Timestamp};
use crate::attributes::SessionAttributes;
use crate::checkpoint::{Checkpoint, Record, RecordKey};
use crate::event::{Event, EventKind, Subject};
use crate::id::SessionId;
use crate::slots::{Flags, SlotId};

impl SessionTable {
    /// Restores what a checkpoint record holds, in place of an older record of its key.
    pub fn restore(&mut self, record: Record) {
        match record {
            Record::CutOff(record) => self.restore_cut_off(record),
            Record::Session(record) => {
                let key = self.key(record.session);
                self.drop_state(&key);
                if let Some(ended) = record.ended {
                    self.remembered
                        .insert(&key.id, key.hash, ended, self.watermark);
                    self.bound_remembered();
                }
                for end in record.unmatched {
                    self.unmatched
                        .insert(&key.id, key.hash, end, self.watermark);
                }
                if let Some(live) = record.live {
                    self.restore_live(&key, live);
                }
            }
        }
    }

    fn restore_live(&mut self, key: &Key, live: Checkpoint) {
        let slot = self.occupy(key, live.user);
        let session = &mut self.slots[slot];
        session.authenticated_at = live.authenticated_at;
        session.last_activity = live.last_activity;
        session.dirty_offset = live.position;
        session.flags.set(Flags::LOGGED_IN, live.logged_in);
        session
            .flags
            .set(Flags::BEGAN_WITH_LOGIN, live.began_with_login);
        session
            .flags
            .set(Flags::DEFERRED, !live.deferred.is_empty());
        if !live.deferred.is_empty() {
            self.deferred.insert(slot, live.deferred);
        }
        let details = self.slots.details_mut(slot);
        details.started_at = live.started_at;
        details.attributes = live.attributes_at.map(|at| {
            let attributes = live.attributes.unwrap_or_default();
            Box::new(SessionAttributes { attributes, at })
        });
        self.resolve_policy(slot);
        if live.awaits_check {
            self.restore_check(slot);
        }
        // Policies may have changed since: a deadline that moved on needs its own warning.
        let (deadline, _) = self.deadline(slot);
        if live.warned_of.is_some_and(|warned| deadline <= warned) {
            self.slots[slot].flags.set(Flags::WARNED, true);
            self.arm(slot);
        }
    }

    /// Removes what has a tombstone in the checkpoint topic.
    pub fn discard(&mut self, key: &RecordKey) {
        match key {
            RecordKey::Session(session) => {
                let key = self.key(session.clone());
                self.drop_state(&key);
            }
            RecordKey::CutOff(cut_off) => self.discard_cut_off(cut_off),
        }
    }

    fn drop_state(&mut self, key: &Key) {
        if let Some(slot) = self.find(key) {
            self.take_deferred(slot);
            self.vacate(slot);
        }
        self.remembered.remove(&key.id, key.hash);
        self.unmatched.remove_all(&key.id, key.hash);
    }

    /// Returns whether the session is live, or an earlier one of its id is remembered.
    #[must_use]
    pub fn contains(&self, session: &SessionId) -> bool {
        let key = self.key(session.clone());
        self.find(&key).is_some()
            || self.remembered.get(&key.id, key.hash).is_some()
            || !self.unmatched.of(&key.id, key.hash).is_empty()
    }

    /// Has the next flush replace a wrong record, by the present state of its key or a tombstone.
    pub fn rewrite(&mut self, key: RecordKey) {
        match key {
            RecordKey::CutOff(cut_off) => self.rewrite_cut_off(cut_off),
            RecordKey::Session(session) => {
                let key = self.key(session);
                match self.find(&key) {
                    Some(slot) => self.mark_pending(slot),
                    None => {
                        self.remembered.mark_outdated(&key.id, key.hash);
                        self.ended.push(key.id);
                    }
                }
            }
        }
    }

    /// Replays an event that was applied before the restore. Only activity can be missing from the
    /// checkpoint records, so only activity is restored.
    pub fn replay(&mut self, event: &Event<'_>, offset: i64, record_timestamp: Timestamp) {
        let Subject::Session { id, .. } = event.subject else {
            return;
        };
        if !matches!(event.kind, EventKind::Activity | EventKind::Login) {
            return;
        }
        let at = self.clamp(event.at, record_timestamp);
        let Some(slot) = self.find(&self.key(id.into())) else {
            return;
        };
        // Warnings and their withdrawal are stored at once, so they are not replayed.
        if offset >= self.slots[slot].dirty_offset {
            self.raise_activity(slot, at, offset);
            self.confirm_attributes(slot, event.attributes, at, offset);
        }
    }

    /// Treats every session as active at `at`, because the source records to replay were deleted: a late
    /// ending is acceptable, a wrong one is not.
    ///
    /// `lost_from` is the offset at which the replay should have started. Sessions stay dirty from
    /// there until they have been stored, so that a restore before that treats them the same way.
    pub fn assume_active(&mut self, at: Timestamp, lost_from: i64) {
        let slots: Vec<SlotId> = self.slots.live().collect();
        for slot in slots {
            self.touch(slot, at, lost_from);
        }
    }
}
