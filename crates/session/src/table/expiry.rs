//! Timeouts and warnings.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::due::Due;
use super::{SessionTable, Timestamp};
use crate::effect::{Effect, Expiring};
use crate::policy::{PolicyCounts, PolicyIndex, PolicySet};
use crate::slots::{Flags, SlotId};
use crate::wheel::Wheel;

impl SessionTable {
    /// Ends each session whose deadline is [`allowed_lateness`](super::TableConfig::allowed_lateness)
    /// or more before `watermark`, and emits warnings, in the order in which they fell due. The
    /// watermark is a time up to which all appended records have been applied.
    ///
    /// Handles at most `limit` sessions (more than zero). Returns whether due sessions remain; then
    /// call again with the same watermark once the effects have been processed. An earlier watermark
    /// changes nothing.
    pub fn advance(&mut self, watermark: Timestamp, limit: usize, out: &mut Vec<Effect>) -> bool {
        let before = out.len();
        if !self.sweep(limit, out) {
            return true;
        }
        let limit = limit.saturating_sub(out.len() - before).max(1);
        self.watermark = self.watermark.max(watermark);
        self.forget_expired(limit);
        let started = self.counters.started;
        if !self.check_limits(before.saturating_add(limit), out) {
            return true;
        }
        self.collect_due();
        let mut batch = Vec::new();
        while batch.len() < limit
            && let Some(due) = self.overdue.pop_front()
        {
            // It may have ended or been active since it fell due.
            if Wheel::release(&mut self.slots, due.slot) {
                batch.extend(self.due_or_armed(due.slot));
            }
        }
        self.sort(&mut batch);
        for due in batch {
            // An earlier one of the batch may have started a session that is checked before, or ended
            // this one.
            self.check_limits(usize::MAX, out);
            if self.slots[due.slot].flags.has(Flags::LIVE) {
                self.fire(due.slot, out);
            }
        }
        // Events that had waited may have started sessions that are due as well.
        !self.overdue.is_empty() || self.counters.started > started
    }

    /// Puts due sessions in order: by time, and those of one time independently of their slots.
    fn sort(&self, due: &mut [Due]) {
        let start = |due: &Due| self.slots.details(due.slot).started_at;
        let id = |due: &Due| &self.slots[due.slot].id;
        due.sort_unstable_by(|a, b| {
            let by_time = a.at.cmp(&b.at);
            let by_start = by_time.then_with(|| start(a).cmp(&start(b)));
            by_start.then_with(|| id(a).cmp_text(id(b)))
        });
    }

    /// Appends the sessions that have fallen due since the last call to those that remain from it.
    fn collect_due(&mut self) {
        let mut drained = Vec::new();
        self.wheel
            .drain(&mut self.slots, self.watermark, &mut drained);
        let mut due: Vec<Due> = Vec::new();
        for slot in drained {
            due.extend(self.due_or_armed(slot));
        }
        self.sort(&mut due);
        for due in &due {
            Wheel::hold(&mut self.slots, due.slot);
        }
        self.overdue.extend(due);
    }

    /// Returns the session if it is due; otherwise arms its timer.
    fn due_or_armed(&mut self, slot: SlotId) -> Option<Due> {
        let at = self.timer(slot);
        if at > self.watermark {
            self.wheel.arm(&mut self.slots, slot, at);
            return None;
        }
        Some(Due { at, slot })
    }

    /// Replaces the active policies, for live sessions as for new ones: each is matched again, and
    /// its timer moves in either direction.
    ///
    /// Ends no session by itself; the next [`advance`](SessionTable::advance) does.
    pub fn set_policies(&mut self, policies: Arc<PolicySet>) {
        if Arc::ptr_eq(&self.policies, &policies) {
            return;
        }
        let slots: Vec<(SlotId, Timestamp)> = self
            .slots
            .live()
            .map(|slot| (slot, self.deadline(slot).0))
            .collect();
        self.users.clear();
        self.counts = PolicyCounts::new(&policies);
        self.policies = policies;
        for (slot, before) in slots {
            // The old index is of the old set.
            self.slots[slot].policy = PolicyIndex::default();
            self.counts.enter(PolicyIndex::default());
            // Arms the timer for now if the deadline has moved past events that wait.
            self.resolve_policy(slot);
            self.withdraw_warning(slot, before);
        }
        self.resume_checks();
    }

    /// Withdraws the session's warning if its deadline has moved on from `before`, so that the new
    /// deadline gets its own.
    ///
    /// The withdrawal is stored at once, as a warning is. Otherwise a restore would depend on
    /// replay, under policies that may have changed since.
    pub(super) fn withdraw_warning(&mut self, slot: SlotId, before: Timestamp) {
        if self.slots[slot].flags.has(Flags::WARNED) && self.deadline(slot).0 > before {
            self.slots[slot].flags.set(Flags::WARNED, false);
            self.mark_pending(slot);
            self.arm(slot);
        }
    }

    /// Matches the session's policy again, and arms its timer.
    pub(super) fn resolve_policy(&mut self, slot: SlotId) {
        let details = self.slots.details(slot);
        let mut buffer = [0; 36];
        let user = details.user.text(&mut buffer);
        let policy = self.policies.resolve(user, details.attributes());
        self.leave_user(slot);
        let session = &mut self.slots[slot];
        self.counts.leave(session.policy);
        self.counts.enter(policy);
        session.policy = policy;
        self.enter_user(slot);
        self.arm(slot);
    }

    /// Arms the session's timer for its next warning or ending.
    pub(super) fn arm(&mut self, slot: SlotId) {
        let at = self.timer(slot);
        self.wheel.arm(&mut self.slots, slot, at);
    }

    /// Returns when the session is next due for a warning, its ending, or events that no longer have to
    /// wait.
    fn timer(&self, slot: SlotId) -> Timestamp {
        let (deadline, _) = self.deadline(slot);
        if self
            .first_deferred(slot)
            .is_some_and(|first| first < self.horizon(slot))
        {
            return Timestamp::MIN;
        }
        if deadline == Timestamp::MAX {
            return deadline;
        }
        let end = self.times_out_at(slot, deadline);
        if end <= self.watermark || self.slots[slot].flags.has(Flags::WARNED) {
            return end;
        }
        let ahead = self.policy(slot).warn_before.unwrap_or_default();
        end - ahead
    }

    /// Ends the session, or emits a warning if its deadline has not passed.
    fn fire(&mut self, slot: SlotId, out: &mut Vec<Effect>) {
        if self.apply_released(slot, out) {
            return;
        }
        let at = self.timer(slot);
        if at > self.watermark {
            self.wheel.arm(&mut self.slots, slot, at);
            return;
        }
        let (deadline, reason) = self.deadline(slot);
        if self.times_out_at(slot, deadline) <= self.watermark {
            self.time_out(slot, reason, deadline, out);
            return;
        }
        let (session, details) = (&self.slots[slot], self.slots.details(slot));
        out.push(Effect::Expiring(Box::new(Expiring {
            session: session.id.clone(),
            user: self.slots.user_id(slot),
            policy: Arc::clone(self.policy(slot)),
            reason,
            last_activity: session.last_activity,
            deadline,
            started_at: details.started_at,
            attributes: details.attributes().cloned(),
        })));
        self.slots[slot].flags.set(Flags::WARNED, true);
        // Stored with the warning, so that it is not repeated after a restore.
        self.mark_pending(slot);
        self.arm(slot);
    }
}
