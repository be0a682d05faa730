//! How a table is built again from the checkpoint topic and the source.
//!
//! In this order: [`restore`](SessionTable::restore) or
//! [`discard`](SessionTable::discard) for each checkpoint record,
//! [`replay`](SessionTable::replay) for each source record from `replay_from` up to
//! the committed offset (or [`assume_active`](SessionTable::assume_active) if those
//! are gone), then live events. Nothing of it has an effect on the outside: whatever
//! it could emit was emitted by the transactions that are being replayed.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{SessionTable, Timestamp};
use crate::checkpoint::Checkpoint;
use crate::event::{Event, EventKind, Subject};
use crate::id::SessionId;
use crate::slots::{Flags, SlotId};

impl SessionTable {
    /// Takes over a session from its checkpoint record, in place of an older record
    /// of the same session.
    pub fn restore(&mut self, checkpoint: Checkpoint) {
        let key = self.key(checkpoint.session);
        if let Some(slot) = self.find(&key) {
            self.vacate(slot);
        }
        let slot = self.occupy(&key, checkpoint.user);
        let session = &mut self.slots[slot];
        session.started_at = checkpoint.started_at;
        session.last_activity = checkpoint.last_activity;
        session.flags.set(Flags::STORED, true);
        let details = self.slots.details_mut(slot);
        details.start_offset = checkpoint.start_offset;
        details.attributes = checkpoint.attributes.map(Box::new);
        self.resolve_policy(slot);
        // Policies may have changed since: a deadline that moved on by that needs a
        // warning of its own.
        let (deadline, _) = self.deadline(slot);
        if checkpoint
            .warned_of
            .is_some_and(|warned| deadline <= warned)
        {
            self.slots[slot].flags.set(Flags::WARNED, true);
            self.arm(slot);
        }
    }

    /// Drops a session whose checkpoint record has been removed: it is over.
    pub fn discard(&mut self, session: &SessionId) {
        if let Some(slot) = self.find(&self.key(session.clone())) {
            self.vacate(slot);
        }
    }

    /// Whether the session lives.
    #[must_use]
    pub fn contains(&self, session: &SessionId) -> bool {
        self.find(&self.key(session.clone())).is_some()
    }

    /// The offset of the record that the session started with, if it lives.
    #[must_use]
    pub fn start_offset(&self, session: &SessionId) -> Option<i64> {
        let slot = self.find(&self.key(session.clone()))?;
        Some(self.slots.details(slot).start_offset)
    }

    /// Has the next flush write what is so of the session, in place of a record that is
    /// wrong: its state, or that it is not there.
    pub fn rewrite(&mut self, session: SessionId) {
        let key = self.key(session);
        match self.find(&key) {
            Some(slot) => self.mark_pending(slot),
            None => self.forgotten.push(key.id),
        }
    }

    /// Replays an event that had been applied before the restore. All that can be
    /// missing from the checkpoint records is activity, so that is all it brings back.
    pub fn replay(&mut self, event: &Event<'_>, offset: i64, record_timestamp: Timestamp) {
        let Subject::Session { id, .. } = event.subject else {
            return;
        };
        if !matches!(event.kind, EventKind::Activity | EventKind::Login) {
            return;
        }
        let at = self.clamp(event.at, record_timestamp);
        if let Some(slot) = self.find(&self.key(id.into()))
            && self.slots.details(slot).start_offset <= offset
        {
            // Warnings and their withdrawal are stored at once: nothing to bring back.
            self.raise_activity(slot, at, offset);
        }
    }

    /// Takes every session as active at `at`, because the source records that would
    /// tell are gone: rather a late logout than a wrong one.
    ///
    /// `lost_from` is the offset that the replay should have begun at. Sessions stay
    /// dirty from there until they have been stored, so that a restore before that
    /// finds the same gap and comes to the same conclusion.
    pub fn assume_active(&mut self, at: Timestamp, lost_from: i64) {
        let slots: Vec<SlotId> = self.slots.live().collect();
        for slot in slots {
            self.touch(slot, at, lost_from);
        }
    }
}
