//! What goes to the checkpoint topic, and when.
//!
//! The input log is the write-ahead log; the checkpoint topic only shortens its
//! replay. A session's start, its end and each change that its policy may depend on
//! are stored with the transaction in which they happen. Activity is not: a session
//! whose last activity moved is *dirty*, and it is stored anew once it has been so
//! for the slack. Until then, a restore replays the source from the oldest dirty
//! offset and finds that activity there.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::mark::Mark;
use super::{SessionTable, Timestamp};
use crate::checkpoint::Checkpoint;
use crate::effect::Effect;
use crate::slots::{Flags, SlotId};

impl SessionTable {
    /// Appends what has to be written to the checkpoint topic in the transaction that
    /// commits `position` (one past the last offset applied) at the time `now`.
    ///
    /// Of each session only the last state is written, and of one that started and
    /// ended since the last flush nothing at all. At most `limit` sessions are written
    /// for being dirty; any others wait for the next flush. Returns how many were.
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
            // An id that is live again has just been stored above, its record being
            // the new session's.
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

    /// How many sessions the next flush stores whatever its limit: those that have started, or
    /// changed in what has to be stored at once, some of which may have ended since.
    #[must_use]
    pub fn pending_stores(&self) -> usize {
        self.pending.len()
    }

    /// Where a restore has to begin its replay if `position` is committed now: the
    /// oldest offset whose effect is in no checkpoint record.
    #[must_use]
    pub fn replay_from(&self, position: i64) -> i64 {
        self.dirty
            .front()
            .map_or(position, |slot| self.slots[slot].dirty_offset.min(position))
    }

    /// The session's record is out of date from `offset` on.
    pub(super) fn mark_dirty(&mut self, slot: SlotId, offset: i64) {
        let session = &mut self.slots[slot];
        if session.flags.has(Flags::DIRTY) || session.flags.has(Flags::PENDING) {
            return;
        }
        session.dirty_offset = offset;
        session.flags.set(Flags::DIRTY, true);
        self.dirty.push_back(&mut self.slots, slot);
    }

    /// The next flush stores the session.
    pub(super) fn mark_pending(&mut self, slot: SlotId) {
        let session = &mut self.slots[slot];
        if !session.flags.has(Flags::PENDING) {
            session.flags.set(Flags::PENDING, true);
            self.pending.push(slot);
        }
    }

    /// The session is not dirty any more, or not there any more.
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

    /// The offset below which everything was applied a slack ago or longer.
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
            // Kept while it is the latest one past the cutoff: the next flush needs it.
            if self.marks[1].at > cutoff {
                break;
            }
            self.marks.pop_front();
        }
        reached
    }
}
