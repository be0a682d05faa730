//! Checkpoint records.
//!
//! The input log is the write-ahead log; the checkpoint topic shortens its replay. A session's
//! start, its end and each change that its policy may depend on are stored in the transaction in
//! which they happen. Activity is not: a session whose last activity moved is *dirty*, and it is
//! stored once it has been dirty for the slack. Until then, a restore replays the source from the
//! oldest dirty offset.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::mark::Mark;
use super::{SessionTable, Timestamp};
use crate::checkpoint::Checkpoint;
use crate::effect::Effect;
use crate::slots::{Flags, SlotId};

impl SessionTable {
    /// Appends the checkpoint records of the transaction that commits `position` (one past the last
    /// offset applied) at the time `now`.
    ///
    /// Only the last state of each session is written, and nothing for a session that started and
    /// ended since the last flush. At most `limit` dirty sessions are written; the others wait for
    /// the next flush. Returns the number of dirty sessions written.
    pub fn flush(
        &mut self,
        position: i64,
        now: Timestamp,
        limit: usize,
        out: &mut Vec<Effect>,
    ) -> usize {
        for slot in core::mem::take(&mut self.pending) {
            if self.slots[slot].flags.has(Flags::PENDING) {
                self.store(slot, out);
            }
        }
        for session in core::mem::take(&mut self.forgotten) {
            // If the id is live again, the new session has just been stored above.
            let key = self.key(session);
            if self.find(&key).is_none() {
                out.push(Effect::Forget(key.id));
            }
        }
        let overdue = self.offset_at(now, position);
        let mut rewritten = 0;
        while rewritten < limit
            && let Some(slot) = self.dirty.front()
            && self.slots[slot].dirty_offset < overdue
        {
            self.store(slot, out);
            rewritten += 1;
        }
        rewritten
    }

    /// Returns how many sessions the next flush stores regardless of its limit, those that have ended
    /// since included.
    #[must_use]
    pub fn pending_stores(&self) -> usize {
        self.pending.len()
    }

    /// Returns where a restore starts its replay if `position` is committed now: the oldest offset
    /// whose effect is in no checkpoint record.
    #[must_use]
    pub fn replay_from(&self, position: i64) -> i64 {
        self.dirty
            .front()
            .map_or(position, |slot| self.slots[slot].dirty_offset.min(position))
    }

    /// Marks the session's record as out of date from `offset` on.
    pub(super) fn mark_dirty(&mut self, slot: SlotId, offset: i64) {
        let session = &mut self.slots[slot];
        if session.flags.has(Flags::DIRTY) || session.flags.has(Flags::PENDING) {
            return;
        }
        session.dirty_offset = offset;
        session.flags.set(Flags::DIRTY, true);
        self.dirty.push_back(&mut self.slots, slot);
    }

    /// Has the next flush store the session.
    pub(super) fn mark_pending(&mut self, slot: SlotId) {
        let session = &mut self.slots[slot];
        if !session.flags.has(Flags::PENDING) {
            session.flags.set(Flags::PENDING, true);
            self.pending.push(slot);
        }
    }

    /// Removes the session from the dirty list.
    pub(super) fn mark_clean(&mut self, slot: SlotId) {
        let session = &mut self.slots[slot];
        if session.flags.has(Flags::DIRTY) {
            session.flags.set(Flags::DIRTY, false);
            self.dirty.unlink(&mut self.slots, slot);
        }
    }

    fn store(&mut self, slot: SlotId, out: &mut Vec<Effect>) {
        self.mark_clean(slot);
        let (deadline, _) = self.deadline(slot);
        let session = &mut self.slots[slot];
        session.flags.set(Flags::PENDING, false);
        session.flags.set(Flags::STORED, true);
        let (session, details) = (&self.slots[slot], self.slots.details(slot));
        out.push(Effect::Store(Box::new(Checkpoint {
            session: session.id.clone(),
            user: self.slots.user_id(slot),
            started_at: session.started_at,
            last_activity: session.last_activity,
            start_offset: details.start_offset,
            warned_of: Some(deadline).filter(|_| session.flags.has(Flags::WARNED)),
            attributes: details.attributes.as_deref().cloned(),
        })));
    }

    /// Returns the offset below which all records were applied a slack ago or earlier.
    fn offset_at(&mut self, now: Timestamp, position: i64) -> i64 {
        let cutoff = now - self.config.slack;
        if self
            .marks
            .back()
            .is_none_or(|mark| mark.position < position)
        {
            self.marks.push_back(Mark { at: now, position });
        }
        let mut reached = i64::MIN;
        while let Some(mark) = self.marks.front().filter(|mark| mark.at <= cutoff) {
            reached = mark.position;
            if self.marks.len() == 1 {
                break;
            }
            // The latest mark past the cutoff stays: the next flush needs it.
            if self.marks[1].at > cutoff {
                break;
            }
            self.marks.pop_front();
        }
        reached
    }
}
