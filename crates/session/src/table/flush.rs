//! Checkpoint records.
//!
//! The input log is the write-ahead log; the checkpoint topic shortens its replay. A session's
//! start, its end and each change that its policy may depend on are stored in the transaction in
//! which they happen. Activity is not: a session whose last activity moved is *dirty*, and it is
//! stored once it has been dirty for the slack. Until then, a restore replays the source from the
//! oldest dirty offset.

use alloc::vec::Vec;

use super::mark::Mark;
use super::{SessionTable, Timestamp};
use crate::checkpoint::{Checkpoint, Record, RememberedEnding, SessionRecord, UnmatchedEnd};
use crate::effect::Effect;
use crate::id::SessionId;
use crate::slots::{Flags, SlotId};

impl SessionTable {
    /// Appends the checkpoint records of the transaction that commits `position` (one past the last
    /// offset applied) at the time `now`.
    ///
    /// Only the last state of each session is written. At most `limit` dirty sessions are written; the others wait for
    /// the next flush. Returns the number of dirty sessions written.
    pub fn flush(
        &mut self,
        position: i64,
        now: Timestamp,
        limit: usize,
        out: &mut Vec<Effect>,
    ) -> usize {
        let mut over = Vec::new();
        for id in core::mem::take(&mut self.ended) {
            let key = self.key(id);
            match self.find(&key) {
                Some(slot) => self.mark_pending(slot),
                None => over.push(key),
            }
        }
        for slot in core::mem::take(&mut self.pending) {
            if self.slots[slot].flags.has(Flags::PENDING) {
                self.store(slot, position, out);
            }
        }
        for key in over {
            self.store_ended(key, out);
        }
        self.store_cut_offs(out);
        let overdue = self.offset_at(now, position);
        let mut rewritten = 0;
        while rewritten < limit
            && let Some(slot) = self.dirty.front()
            && self.slots[slot].dirty_offset < overdue
        {
            self.store(slot, position, out);
            rewritten += 1;
        }
        rewritten
    }

    /// Returns how many records the next flush writes regardless of its limit, at most.
    #[must_use]
    pub fn pending_stores(&self) -> usize {
        self.pending.len() + self.ended.len()
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

    fn store(&mut self, slot: SlotId, position: i64, out: &mut Vec<Effect>) {
        self.mark_clean(slot);
        let (deadline, _) = self.deadline(slot);
        let session = &mut self.slots[slot];
        session.flags.set(Flags::PENDING, false);
        let id = session.id.clone();
        let (ended, unmatched) = self.take_past(&id);
        let (session, details) = (&self.slots[slot], self.slots.details(slot));
        let live = Checkpoint {
            user: self.slots.user_id(slot),
            started_at: details.started_at,
            authenticated_at: session.authenticated_at,
            logged_in: session.flags.has(Flags::LOGGED_IN),
            began_with_login: session.flags.has(Flags::BEGAN_WITH_LOGIN),
            last_activity: session.last_activity,
            warned_of: Some(deadline).filter(|_| session.flags.has(Flags::WARNED)),
            attributes: details.attributes().cloned(),
            attributes_at: details.attributes.as_ref().map(|known| known.at),
            deferred: self.deferred.get(&slot).cloned().unwrap_or_default(),
            awaits_check: self.users.check(slot).is_some(),
            position,
        };
        out.push(Effect::Store(Record::Session(SessionRecord {
            unmatched,
            session: id,
            live: Some(live),
            ended,
        })));
    }

    /// Returns what the record of a live session holds of earlier sessions of its id, which counts as
    /// stored now.
    fn take_past(&mut self, id: &SessionId) -> (Option<RememberedEnding>, Vec<UnmatchedEnd>) {
        // Most often, and then the id need not be hashed.
        if self.remembered.len() == 0 && self.unmatched.len() == 0 {
            return (None, Vec::new());
        }
        let key = self.key(id.clone());
        let ended = self.remembered.get(&key.id, key.hash);
        if ended.is_some() {
            self.remembered.mark_stored(&key.id, key.hash);
        }
        (ended, self.unmatched(&key).cloned().collect())
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
