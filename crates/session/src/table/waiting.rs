//! Events at or past the deadline of their session.
//!
//! Whether they belong to it is known once all events from before the deadline have been read: either
//! one of those moves the deadline past them, or the session ends and they are the first of what follows.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::events::EventAt;
use super::{Applied, Key, SessionTable};
use crate::deferred::{self, DeferredEvent};
use crate::effect::Effect;
use crate::event::EventKind;
use crate::id::{TextBuffer, UserRef};
use crate::slots::{Flags, SlotId};
use crate::time::Timestamp;

impl SessionTable {
    /// Has an event wait. It is stored at once, even if it waits already: a replay takes what comes after
    /// the stored position for activity.
    pub(super) fn defer(&mut self, slot: SlotId, event: DeferredEvent) {
        self.slots[slot].flags.set(Flags::DEFERRED, true);
        self.mark_pending(slot);
        let waiting = self.deferred.entry(slot).or_default();
        if !waiting.contains(&event) && deferred::insert(waiting, event) {
            self.counters.deferred_dropped += 1;
        }
    }

    /// Returns the time of the first event that waits for the end of the session.
    pub(super) fn first_deferred(&self, slot: SlotId) -> Option<Timestamp> {
        if !self.slots[slot].flags.has(Flags::DEFERRED) {
            return None;
        }
        Some(self.deferred.get(&slot)?.first()?.at)
    }

    /// Applies the waiting events that the deadline has moved past. Returns whether one of them has
    /// ended the session.
    pub(super) fn apply_released(&mut self, slot: SlotId, out: &mut Vec<Effect>) -> bool {
        while self
            .first_deferred(slot)
            .is_some_and(|first| first < self.horizon(slot))
        {
            let Some(waiting) = self.deferred.get_mut(&slot) else {
                return false;
            };
            let event = waiting.remove(0);
            if waiting.is_empty() {
                self.take_deferred(slot);
            }
            self.mark_pending(slot);
            let mut buffer = [0; 36];
            let event_at = event.as_event_at(&mut buffer);
            if let Some(reason) = event.kind.ends_with() {
                let has_ended = if event.broad {
                    self.end_or_defer(slot, event_at, out)
                } else {
                    self.end_by_event(slot, event_at, reason, out) == Applied::Accepted
                };
                if has_ended {
                    return true;
                }
                continue;
            }
            if event.kind == EventKind::Activity && event.attributes.is_none() {
                self.touch(slot, event.at, event_at.offset);
            } else {
                self.update(slot, event_at);
                if self.end_by_known_since_login(slot, event_at, out) {
                    return true;
                }
            }
        }
        false
    }

    /// Applies events that have waited for the end of a session of this id. A session that they start, or in
    /// which they log in, may end by what was known before it, after those of them that precede that end; one
    /// that goes on has been checked against it.
    pub(super) fn resume(&mut self, key: &Key, events: &[DeferredEvent], out: &mut Vec<Effect>) {
        let goes_on = self.find(key).is_some();
        let mut is_unchecked = !goes_on;
        for event in events {
            if is_unchecked {
                self.end_resumed_by_known(key, event.at, out);
            }
            is_unchecked |= event.kind == EventKind::Login;
            let mut buffer = [0; 36];
            let event_at = event.as_event_at(&mut buffer);
            if !event.broad {
                self.apply_to_session(key, event_at, out);
            } else if goes_on && let Some(slot) = self.find(key) {
                // Other sessions need not be of the user or have the attributes that it asks for.
                self.end_or_defer(slot, event_at, out);
            }
        }
        if !events.is_empty() && is_unchecked {
            self.end_resumed_by_known(key, Timestamp::MAX, out);
        }
    }

    /// Ends the session that waiting events have started by what was known before it, up to `until`.
    fn end_resumed_by_known(&mut self, key: &Key, until: Timestamp, out: &mut Vec<Effect>) {
        if let Some(slot) = self.find(key) {
            let from = self.slots[slot].authenticated_at;
            self.end_by_known(slot, key, from..until, out);
        }
    }
}

impl EventAt<'_> {
    pub(super) fn to_deferred(self, broad: bool) -> DeferredEvent {
        DeferredEvent {
            at: self.at,
            kind: self.kind,
            broad,
            user: self.user.map(UserRef::to_owned),
            attributes: self.attributes.cloned().map(Box::new),
            initiator: self.initiator.cloned().map(Box::new),
        }
    }
}

impl DeferredEvent {
    pub(super) fn as_event_at<'a>(&'a self, buffer: &'a mut TextBuffer) -> EventAt<'a> {
        EventAt {
            user: self.user.as_ref().map(|user| UserRef {
                text: user.text.text(buffer),
                number: user.number,
            }),
            attributes: self.attributes.as_deref(),
            initiator: self.initiator.as_deref(),
            ..EventAt::read_before(self.at, self.kind)
        }
    }
}
