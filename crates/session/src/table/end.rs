//! Endings, and how long they are remembered.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Key, SessionTable};
use crate::checkpoint::{Record, RecordKey, RememberedEnding, SessionRecord};
use crate::effect::{Effect, Ending};
use crate::reason::EndReason;
use crate::slots::SlotId;
use crate::time::Timestamp;

impl SessionTable {
    /// Ends the session at its deadline and applies the events that have waited for that.
    pub(super) fn time_out(
        &mut self,
        slot: SlotId,
        reason: EndReason,
        deadline: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let key = self.key(self.slots[slot].id.clone());
        let waiting = self.take_deferred(slot);
        let policy = Arc::clone(self.policy(slot));
        let user = self.slots.user_id(slot);
        let (session, details) = self.vacate(slot);
        // A policy edit may have moved the deadline before activity that is known.
        let in_flight = Some(session.last_activity).filter(|latest| *latest > deadline);
        out.push(Effect::Ended(Box::new(Ending {
            session: session.id,
            user: Some(user),
            reason,
            policy,
            started_at: Some(details.started_at),
            last_activity: Some(session.last_activity),
            ended_at: deadline,
            attributes: details.attributes().cloned(),
            initiator: None,
        })));
        self.remember(
            &key,
            RememberedEnding {
                reason,
                ended_at: deadline,
                in_flight,
            },
        );
        self.resume(&key, &waiting, out);
    }

    pub(super) fn remember(&mut self, key: &Key, ending: RememberedEnding) {
        self.remembered
            .insert(&key.id, key.hash, ending, self.watermark);
        self.bound_remembered();
        self.mark_ended(key);
    }

    /// Has the next flush write what is remembered of the id.
    pub(super) fn mark_ended(&mut self, key: &Key) {
        if self.remembered.mark_outdated(&key.id, key.hash) {
            self.ended.push(key.id.clone());
        }
    }

    pub(super) fn bound_remembered(&mut self) {
        while self.remembered.length() > self.config.max_remembered {
            if let Some(id) = self.remembered.pop_front() {
                self.counters.forgotten_early += 1;
                self.ended.push(id);
            }
        }
    }

    /// Forgets what has been remembered for long enough, up to `limit` endings.
    pub(super) fn forget_expired(&mut self, limit: usize) {
        for _ in 0..limit {
            let Some(id) = self.remembered.pop_expired(self.watermark) else {
                break;
            };
            // The record of a live session loses its part when it is next written.
            let key = self.key(id);
            if self.find(&key).is_none() {
                self.ended.push(key.id);
            }
        }
        self.forget_expired_cut_offs();
        self.unmatched
            .expire(self.watermark, self.config.allowed_lateness);
    }

    /// Appends the record of an id that is not live, or its tombstone.
    pub(super) fn store_ended(&mut self, key: Key, out: &mut Vec<Effect>) {
        match self.remembered.get(&key.id, key.hash) {
            None => out.push(Effect::Forget(RecordKey::Session(key.id))),
            Some(ended) => {
                if self.remembered.mark_stored(&key.id, key.hash) {
                    out.push(Effect::Store(Record::Session(SessionRecord {
                        unmatched: self.unmatched(&key).cloned().collect(),
                        session: key.id,
                        live: None,
                        ended: Some(ended),
                    })));
                }
            }
        }
    }
}
