//! Logouts and revocations of one session that ended nothing, because the session was over.
//!
//! A session of the id that began before one of them may still turn up, as long as events may be out of
//! order: it ends on arrival.

use super::events::EventAt;
use super::{Key, SessionTable};
use crate::checkpoint::UnmatchedEnd;
use crate::event::EventKind;
use crate::time::Timestamp;

impl SessionTable {
    /// Keeps an event that ended nothing.
    pub(super) fn keep_unmatched(&mut self, key: &Key, event: EventAt<'_>) {
        let Some(reason) = event.kind.ends_with() else {
            return;
        };
        if self.is_open(event.at) {
            let end = UnmatchedEnd {
                at: event.at,
                reason,
                initiator: event.initiator.cloned(),
            };
            let earlier_forgotten = self
                .unmatched
                .insert(&key.id, key.hash, end, self.watermark);
            self.counters.forgotten_early += u64::from(earlier_forgotten);
            if self.unmatched.len() > self.config.max_remembered {
                self.unmatched.remove_oldest();
                self.counters.forgotten_early += 1;
            }
            self.mark_ended(key);
        }
    }
}

impl SessionTable {
    /// Returns the unmatched ends of the id before which a session may have begun that still turns up,
    /// by time.
    pub(super) fn unmatched(&self, key: &Key) -> impl Iterator<Item = &UnmatchedEnd> {
        let ends = self.unmatched.of(&key.id, key.hash);
        ends.iter().filter(|end| self.is_open(end.at))
    }

    fn is_open(&self, at: Timestamp) -> bool {
        at + self.config.allowed_lateness > self.watermark
    }
}

impl UnmatchedEnd {
    pub(super) fn as_event_at(&self) -> EventAt<'_> {
        EventAt {
            initiator: self.initiator.as_ref(),
            ..EventAt::read_before(self.at, EventKind::ending_with(self.reason))
        }
    }
}
