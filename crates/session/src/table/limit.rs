//! The limit of a user's sessions.
//!
//! A session that starts at T is checked at T + L: if the user then has more sessions that started at T
//! or before than the policy allows, the least recently active of the others end, at T + L. All events
//! before that have been read when the watermark passes T + 2 L; those from T + L on wait until then, as
//! events past a deadline do.

use alloc::vec::Vec;

use super::events::EventAt;
use super::{Key, SessionTable};
use crate::effect::Effect;
use crate::event::EventKind;
use crate::reason::EndReason;
use crate::slots::{Flags, SlotId};
use crate::time::Timestamp;
use crate::user_sessions::UserKey;

impl SessionTable {
    /// Returns the time from which events of the session wait: its deadline, or an earlier check of its
    /// user's sessions.
    pub(super) fn horizon(&self, slot: SlotId) -> Timestamp {
        self.horizon_within(slot, self.deadline(slot).0)
    }

    /// Returns the same for a session with this deadline.
    pub(super) fn horizon_within(&self, slot: SlotId, deadline: Timestamp) -> Timestamp {
        if !self.slots[slot].flags.has(Flags::AWAITS_CHECK) {
            return deadline;
        }
        deadline.min(self.next_check(&self.user_key(slot)))
    }

    /// Returns the watermark at which the session times out: all events from before its deadline have been
    /// read, and its user's sessions have been checked up to then.
    pub(super) fn times_out_at(&self, slot: SlotId, deadline: Timestamp) -> Timestamp {
        let end = deadline + self.lateness(slot);
        if !self.slots[slot].flags.has(Flags::AWAITS_CHECK) {
            return end;
        }
        let check = self.next_check(&self.user_key(slot));
        if check < deadline {
            end.max(check + self.config.allowed_lateness)
        } else {
            end
        }
    }

    /// Has the limit checked for a session that has started, or is known to have started earlier.
    pub(super) fn check_after_start(&mut self, slot: SlotId) {
        let Some(limit) = self.policy(slot).session_limit() else {
            return;
        };
        let key = self.user_key(slot);
        let sessions = self.users.sessions(&key);
        if sessions.len() <= limit {
            return;
        }
        // It counts for those that started at the same time or later as well.
        let started_at = self.slots.details(slot).started_at;
        let is_not_earlier = |other: &SlotId| self.slots.details(*other).started_at >= started_at;
        let starts: Vec<SlotId> = sessions.iter().copied().filter(is_not_earlier).collect();
        for start in starts {
            let at = self.slots.details(start).started_at + self.config.allowed_lateness;
            // The record holds whether there is a check.
            if self.users.set_check(start, at) {
                self.mark_pending(start);
            }
        }
        self.watch(&key);
    }

    /// Enters the session into the index of users if its policy has a limit.
    pub(super) fn enter_user(&mut self, slot: SlotId) {
        if self.policy(slot).max_sessions.is_none() {
            self.users.remove_check(slot);
            self.slots[slot].flags.set(Flags::AWAITS_CHECK, false);
            return;
        }
        let key = self.user_key(slot);
        self.users.enter(&key, slot);
        if self.users.check(slot).is_some() {
            self.watch(&key);
        } else {
            let awaits = self.next_check(&key) < Timestamp::MAX;
            self.slots[slot].flags.set(Flags::AWAITS_CHECK, awaits);
        }
    }

    /// Restores the check of a session that has started.
    pub(super) fn restore_check(&mut self, slot: SlotId) {
        if self.policy(slot).max_sessions.is_some() {
            let started_at = self.slots.details(slot).started_at;
            self.users
                .set_check(slot, started_at + self.config.allowed_lateness);
            self.watch(&self.user_key(slot));
        }
    }

    /// Has events wait for the checks that go on under other policies.
    pub(super) fn resume_checks(&mut self) {
        let checked: Vec<SlotId> = self.users.checked().collect();
        for slot in checked {
            self.watch(&self.user_key(slot));
        }
    }

    /// Removes the session from the index of users, before its user or its policy changes.
    pub(super) fn leave_user(&mut self, slot: SlotId) {
        if self.users.is_empty() {
            return;
        }
        let key = self.user_key(slot);
        if self.users.leave(&key, slot) && self.users.check(slot).is_some() {
            self.watch(&key);
        }
    }

    /// Has the events of the user's sessions wait for a check, or wait no longer.
    pub(super) fn watch(&mut self, key: &UserKey) {
        let awaits = self.next_check(key) < Timestamp::MAX;
        let slots = self.users.sessions(key).to_vec();
        for slot in slots {
            self.slots[slot].flags.set(Flags::AWAITS_CHECK, awaits);
            self.arm(slot);
        }
    }

    /// Checks the limit of users whose sessions are known up to then, until `out` is `full`. Returns
    /// whether all have been checked.
    pub(super) fn check_limits(&mut self, full: usize, out: &mut Vec<Effect>) -> bool {
        while let Some((at, slots)) = self.users.earliest()
            && at + self.config.allowed_lateness <= self.watermark
        {
            if out.len() >= full {
                return false;
            }
            let first = slots.into_iter().min_by(|a, b| {
                let id = |slot: SlotId| &self.slots[slot].id;
                id(*a).cmp_text(id(*b))
            });
            let Some(slot) = first else { break };
            self.check_limit(slot, at, out);
        }
        true
    }

    /// Checks the start of this session, or makes a step towards that.
    fn check_limit(&mut self, slot: SlotId, at: Timestamp, out: &mut Vec<Effect>) {
        let key = self.user_key(slot);
        if self.catch_up_to(&key, at, out) {
            return;
        }
        self.users.remove_check(slot);
        self.mark_pending(slot);
        let started_at = self.slots.details(slot).started_at;
        let mut others: Vec<SlotId> = self.users.sessions(&key).to_vec();
        others.retain(|&other| other != slot && self.slots.details(other).started_at <= started_at);
        let limit = self.policy(slot).session_limit().unwrap_or(usize::MAX);
        let excess = (others.len() + 1).saturating_sub(limit).min(others.len());
        others.sort_unstable_by(|&a, &b| {
            let last = |slot: SlotId| self.slots[slot].last_activity;
            let start = |slot: SlotId| self.slots.details(slot).started_at;
            let by_time = (last(a), start(a)).cmp(&(last(b), start(b)));
            by_time.then_with(|| self.slots[a].id.cmp_text(&self.slots[b].id))
        });
        let ids = others
            .drain(..excess)
            .map(|other| self.slots[other].id.clone());
        let keys: Vec<Key> = ids.map(|id| self.key(id)).collect();
        for key in keys {
            if let Some(slot) = self.find(&key) {
                let event = EventAt::read_before(at, EventKind::Logout);
                self.cut(slot, event, EndReason::SessionLimit, false, out);
            }
        }
        self.watch(&key);
    }

    /// Applies waiting events of the user's sessions up to `at`, or ends the first of them that times out by
    /// then. Returns whether there was one: then a session may have started that is checked before.
    fn catch_up_to(&mut self, key: &UserKey, at: Timestamp, out: &mut Vec<Effect>) -> bool {
        let slots = self.users.sessions(key).to_vec();
        if slots.iter().any(|slot| self.apply_released(*slot, out)) {
            return true;
        }
        let due = |slot: &SlotId| (self.deadline(*slot).0, *slot);
        let Some((deadline, slot)) = slots.iter().map(due).min().filter(|due| due.0 <= at) else {
            return false;
        };
        let (_, reason) = self.deadline(slot);
        self.time_out(slot, reason, deadline, out);
        true
    }

    fn next_check(&self, key: &UserKey) -> Timestamp {
        let sessions = self.users.sessions(key).iter();
        let checks = sessions.filter_map(|slot| self.users.check(*slot));
        checks.min().unwrap_or(Timestamp::MAX)
    }

    fn user_key(&self, slot: SlotId) -> UserKey {
        let user = self.slots.user_id(slot);
        UserKey {
            hash: user.text.keyed_hash(self.config.hash_key),
            policy: self.slots[slot].policy,
            user,
        }
    }
}
