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

use super::{SessionTable, Timestamp};
use crate::checkpoint::Checkpoint;
use crate::event::{Event, EventKind, Subject};
use crate::id::SessionId;
use crate::slots::{Flags, SlotId};

impl SessionTable {
    /// Restores a session from its checkpoint record, which replaces an older record of the session.
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
        // Policies may have changed since: a deadline that moved on needs its own warning.
        let (deadline, _) = self.deadline(slot);
        if checkpoint
            .warned_of
            .is_some_and(|warned| deadline <= warned)
        {
            self.slots[slot].flags.set(Flags::WARNED, true);
            self.arm(slot);
        }
    }

    /// Removes a session that has a tombstone in the checkpoint topic.
    pub fn discard(&mut self, session: &SessionId) {
        if let Some(slot) = self.find(&self.key(session.clone())) {
            self.vacate(slot);
        }
    }

    /// Returns whether the session is live.
    #[must_use]
    pub fn contains(&self, session: &SessionId) -> bool {
        self.find(&self.key(session.clone())).is_some()
    }

    /// Returns the offset of the record that started the session, if it is live.
    #[must_use]
    pub fn start_offset(&self, session: &SessionId) -> Option<i64> {
        let slot = self.find(&self.key(session.clone()))?;
        Some(self.slots.details(slot).start_offset)
    }

    /// Has the next flush replace a wrong record of the session, by its state or a tombstone.
    pub fn rewrite(&mut self, session: SessionId) {
        let key = self.key(session);
        match self.find(&key) {
            Some(slot) => self.mark_pending(slot),
            None => self.forgotten.push(key.id),
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
        if let Some(slot) = self.find(&self.key(id.into()))
            && self.slots.details(slot).start_offset <= offset
        {
            // Warnings and their withdrawal are stored at once, so they are not replayed.
            self.raise_activity(slot, at, offset);
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
