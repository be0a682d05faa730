//! Logouts and revocations of one session that ended nothing, because the session was over.
//!
//! A session of the id that began before one of them may still turn up, as long as events may be out of
//! order: it ends on arrival.

use alloc::collections::VecDeque;

use hashbrown::HashTable;

use super::events::EventAt;
use super::{Key, SessionTable};
use crate::checkpoint::UnmatchedEnd;
use crate::event::EventKind;
use crate::id::SessionId;
use crate::time::{Span, Timestamp};

/// The latest unmatched end of each id.
#[derive(Debug, Default)]
pub(super) struct UnmatchedEnds {
    by_id: HashTable<KeptEnd>,
    /// When each entry was added, oldest first; some have been replaced since.
    added: VecDeque<(Timestamp, SessionId, u64)>,
}

#[derive(Debug)]
struct KeptEnd {
    id: SessionId,
    hash: u64,
    since: Timestamp,
    end: UnmatchedEnd,
}

impl UnmatchedEnds {
    pub(super) fn get(&self, key: &Key) -> Option<&UnmatchedEnd> {
        let entry = self.by_id.find(key.hash, |entry| entry.id == key.id);
        entry.map(|entry| &entry.end)
    }

    pub(super) fn insert(&mut self, key: &Key, end: UnmatchedEnd, now: Timestamp) {
        self.remove(&key.id, key.hash);
        let since = now.max(end.at);
        let entry = KeptEnd {
            id: key.id.clone(),
            hash: key.hash,
            since,
            end,
        };
        self.by_id
            .insert_unique(key.hash, entry, |entry| entry.hash);
        self.added.push_back((since, key.id.clone(), key.hash));
    }

    pub(super) fn remove(&mut self, id: &SessionId, hash: u64) {
        if let Ok(entry) = self.by_id.find_entry(hash, |entry| entry.id == *id) {
            entry.remove();
        }
    }

    /// Removes the entries whose events have all been read at `now`.
    pub(super) fn expire(&mut self, now: Timestamp, lateness: Span) {
        while let Some((since, ..)) = self.added.front()
            && *since + lateness <= now
        {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        if let Some((since, id, hash)) = self.added.pop_front()
            && let Ok(entry) = self.by_id.find_entry(hash, |entry| entry.id == id)
            && entry.get().since == since
        {
            entry.remove();
        }
    }
}

impl SessionTable {
    /// Keeps an event that ended nothing, unless a later one is kept.
    pub(super) fn keep_unmatched(&mut self, key: &Key, event: EventAt<'_>) {
        let Some(reason) = event.kind.ends_with() else {
            return;
        };
        let is_later = |kept: &UnmatchedEnd| event.at > kept.at;
        if self.is_open(event.at) && self.unmatched.get(key).is_none_or(is_later) {
            let end = UnmatchedEnd {
                at: event.at,
                reason,
                initiator: event.initiator.cloned(),
            };
            self.unmatched.insert(key, end, self.watermark);
            if self.unmatched.added.len() > self.config.max_remembered {
                self.unmatched.remove_oldest();
                self.counters.forgotten_early += 1;
            }
            self.mark_ended(key);
        }
    }
}

impl SessionTable {
    /// Returns the unmatched end of the id, if a session that began before it may still turn up.
    pub(super) fn unmatched(&self, key: &Key) -> Option<&UnmatchedEnd> {
        self.unmatched.get(key).filter(|end| self.is_open(end.at))
    }

    fn is_open(&self, at: Timestamp) -> bool {
        at + self.config.allowed_lateness > self.watermark
    }
}

impl UnmatchedEnd {
    pub(super) fn as_event_at(&self) -> EventAt<'_> {
        EventAt {
            user: None,
            at: self.at,
            exact: true,
            proof: Timestamp::MIN,
            waited: true,
            kind: EventKind::ending_with(self.reason),
            attributes: None,
            initiator: self.initiator.as_ref(),
            offset: i64::MAX,
        }
    }
}
