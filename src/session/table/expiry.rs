//! What the passing of time does to sessions.

use std::sync::Arc;

use super::{SessionTable, Timestamp};
use crate::session::effect::{Effect, Expiring};
use crate::session::policy::{Census, PolicyIndex, PolicySet};
use crate::session::slots::{Flags, SlotId};

/// A session whose timer has gone off, in the order in which effects are written.
struct Due {
    at: Timestamp,
    start_offset: i64,
    slot: SlotId,
}

impl SessionTable {
    /// Everything that was appended before `watermark` has been read: ends each
    /// session whose deadline lies [`allowed_lateness`](super::TableConfig::allowed_lateness)
    /// or more before it, and warns of those that are near theirs. In the order in
    /// which all that fell due.
    ///
    /// At most `limit` sessions are dealt with (more than zero). Returns whether some
    /// are left; then call again with the same watermark, after their effects have
    /// been taken care of. A watermark never goes back: an earlier one changes nothing.
    pub fn advance(&mut self, watermark: Timestamp, limit: usize, out: &mut Vec<Effect>) -> bool {
        self.watermark = self.watermark.max(watermark);
        let mut drained = Vec::new();
        self.wheel
            .drain(&mut self.slots, self.watermark, &mut drained);
        let mut due = Vec::new();
        for slot in drained {
            let at = self.timer(slot);
            if at <= self.watermark {
                let start_offset = self.slots[slot].start_offset;
                due.push(Due {
                    at,
                    start_offset,
                    slot,
                });
            } else {
                self.wheel.arm(&mut self.slots, slot, at);
            }
        }
        due.sort_unstable_by_key(|due| (due.at, due.start_offset));
        for left in due.iter().skip(limit) {
            self.wheel.arm(&mut self.slots, left.slot, left.at);
        }
        for due in due.iter().take(limit) {
            self.fire(due.slot, out);
        }
        due.len() > limit
    }

    /// Puts other policies into force, for running sessions as for new ones: each is
    /// matched anew and its timer set, sooner or later than it stood.
    ///
    /// Ends nothing by itself; the next [`advance`](SessionTable::advance) does.
    pub fn set_policies(&mut self, policies: Arc<PolicySet>) {
        if Arc::ptr_eq(&self.policies, &policies) {
            return;
        }
        let slots: Vec<(SlotId, Timestamp)> = self
            .slots
            .live()
            .map(|(slot, _)| (slot, self.deadline(slot).0))
            .collect();
        self.census = Census::new(&policies);
        self.policies = policies;
        for (slot, before) in slots {
            // Where it stood counts no more.
            self.slots[slot].policy = PolicyIndex::default();
            self.census.enter(PolicyIndex::default());
            self.resolve_policy(slot);
            self.withdraw_warning(slot, before);
        }
    }

    /// Makes the session's warning void if its deadline has moved on from `before`: the
    /// new one is warned of anew.
    ///
    /// That is stored at once, as a warning is. Otherwise a restore would have to find
    /// out by replay, under policies that may have changed since.
    pub(super) fn withdraw_warning(&mut self, slot: SlotId, before: Timestamp) {
        if self.slots[slot].flags.has(Flags::WARNED) && self.deadline(slot).0 > before {
            self.slots[slot].flags.set(Flags::WARNED, false);
            self.mark_pending(slot);
            self.arm(slot);
        }
    }

    /// Finds the policy of the session anew, and sets its timer by it.
    pub(super) fn resolve_policy(&mut self, slot: SlotId) {
        let session = &mut self.slots[slot];
        let mut buffer = [0; 36];
        let user = session.user.text(&mut buffer);
        let policy = self.policies.resolve(user, session.attributes.as_deref());
        self.census.leave(session.policy);
        self.census.enter(policy);
        session.policy = policy;
        self.arm(slot);
    }

    /// Sets the timer of the session to its next warning or ending.
    pub(super) fn arm(&mut self, slot: SlotId) {
        let at = self.timer(slot);
        self.wheel.arm(&mut self.slots, slot, at);
    }

    /// When something is to be done about the session, if nothing happens to it.
    fn timer(&self, slot: SlotId) -> Timestamp {
        let (deadline, _) = self.deadline(slot);
        if deadline == Timestamp::MAX {
            return deadline;
        }
        let end = deadline + self.config.allowed_lateness;
        if end <= self.watermark || self.slots[slot].flags.has(Flags::WARNED) {
            return end;
        }
        let ahead = self.policy(slot).warn_before.unwrap_or_default();
        end - ahead
    }

    /// Ends the session, or warns of its end if there is time left.
    fn fire(&mut self, slot: SlotId, out: &mut Vec<Effect>) {
        let (deadline, reason) = self.deadline(slot);
        if deadline + self.config.allowed_lateness <= self.watermark {
            self.end(slot, reason, deadline, out);
            return;
        }
        let session = &self.slots[slot];
        out.push(Effect::Expiring(Box::new(Expiring {
            session: session.id.clone(),
            user: session.user_id(),
            policy: Arc::clone(self.policy(slot)),
            reason,
            last_activity: session.last_activity,
            deadline,
            start_offset: session.start_offset,
            attributes: session.attributes.as_deref().cloned(),
        })));
        self.slots[slot].flags.set(Flags::WARNED, true);
        // Stored with the warning, so that a restore does not repeat it.
        self.mark_pending(slot);
        self.arm(slot);
    }
}
