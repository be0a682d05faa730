//! Live sessions by user, for policies with a session limit.
//!
//! Sessions of other policies are not in it, so without a limit it allocates nothing.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use hashbrown::HashTable;

use super::id::UserId;
use super::policy::PolicyIndex;
use super::slots::SlotId;
use super::time::Timestamp;

/// A user under a policy, with the hash of the user id.
#[derive(Clone, Debug)]
pub(super) struct UserKey {
    pub(super) user: UserId,
    pub(super) policy: PolicyIndex,
    pub(super) hash: u64,
}

#[derive(Debug)]
struct UserSessions {
    key: UserKey,
    slots: Vec<SlotId>,
}

/// The sessions under policies with a limit, and the checks of that limit that are due.
#[derive(Debug, Default)]
pub(super) struct UserIndex {
    by_user: HashTable<UserSessions>,
    /// When the start of a session is checked against the limit.
    checks: BTreeMap<SlotId, Timestamp>,
    by_time: BTreeSet<(Timestamp, SlotId)>,
}

impl UserIndex {
    pub(super) fn is_empty(&self) -> bool {
        self.by_user.is_empty()
    }

    /// Returns the live sessions of the user under the policy.
    pub(super) fn sessions(&self, key: &UserKey) -> &[SlotId] {
        let found = self
            .by_user
            .find(key.hash, |entry| is_same(&entry.key, key));
        found.map_or(&[], |entry| &entry.slots)
    }

    pub(super) fn enter(&mut self, key: &UserKey, slot: SlotId) {
        let entry = self.by_user.entry(
            key.hash,
            |entry| is_same(&entry.key, key),
            |entry| entry.key.hash,
        );
        let mut entry = entry.or_insert_with(|| UserSessions {
            key: key.clone(),
            slots: Vec::new(),
        });
        entry.get_mut().slots.push(slot);
    }

    /// Removes the session and its check. Returns whether it was there.
    pub(super) fn leave(&mut self, key: &UserKey, slot: SlotId) -> bool {
        let found = self
            .by_user
            .find_entry(key.hash, |entry| is_same(&entry.key, key));
        let Ok(mut entry) = found else {
            return false;
        };
        let slots = &mut entry.get_mut().slots;
        let Some(place) = slots.iter().position(|other| *other == slot) else {
            return false;
        };
        slots.swap_remove(place);
        if slots.is_empty() {
            entry.remove();
        }
        true
    }

    /// Removes all sessions; their checks stay.
    pub(super) fn clear(&mut self) {
        self.by_user.clear();
    }

    /// Sets when the session is checked. Returns whether that is new.
    pub(super) fn set_check(&mut self, slot: SlotId, at: Timestamp) -> bool {
        let before = self.checks.insert(slot, at);
        if let Some(before) = before {
            self.by_time.remove(&(before, slot));
        }
        self.by_time.insert((at, slot));
        before != Some(at)
    }

    /// Returns when the session is checked.
    pub(super) fn check(&self, slot: SlotId) -> Option<Timestamp> {
        self.checks.get(&slot).copied()
    }

    /// Returns whether the session was to be checked.
    pub(super) fn remove_check(&mut self, slot: SlotId) -> bool {
        let at = self.checks.remove(&slot);
        at.is_some_and(|at| self.by_time.remove(&(at, slot)))
    }

    pub(super) fn checked(&self) -> impl Iterator<Item = SlotId> {
        self.checks.keys().copied()
    }

    /// Returns the checks of the earliest time.
    pub(super) fn earliest(&self) -> Option<(Timestamp, Vec<SlotId>)> {
        let (at, _) = *self.by_time.first()?;
        let same = self.by_time.range((at, 0)..=(at, SlotId::MAX));
        Some((at, same.map(|(_, slot)| *slot).collect()))
    }
}

fn is_same(one: &UserKey, other: &UserKey) -> bool {
    one.policy == other.policy && one.user == other.user
}
