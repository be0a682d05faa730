//! Memory of logouts and revocations that ended nothing.

use alloc::collections::VecDeque;

use hashbrown::HashTable;

use crate::checkpoint::UnmatchedEnd;
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
    pub(super) fn get(&self, id: &SessionId, hash: u64) -> Option<&UnmatchedEnd> {
        let entry = self.by_id.find(hash, |entry| entry.id == *id);
        entry.map(|entry| &entry.end)
    }

    pub(super) fn insert(&mut self, id: &SessionId, hash: u64, end: UnmatchedEnd, now: Timestamp) {
        self.remove(id, hash);
        let since = now.max(end.at);
        let entry = KeptEnd {
            id: id.clone(),
            hash,
            since,
            end,
        };
        self.by_id.insert_unique(hash, entry, |entry| entry.hash);
        self.added.push_back((since, id.clone(), hash));
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

    /// Returns the number of entries, replaced ones included.
    pub(super) fn len(&self) -> usize {
        self.added.len()
    }

    pub(super) fn remove_oldest(&mut self) {
        if let Some((since, id, hash)) = self.added.pop_front()
            && let Ok(entry) = self.by_id.find_entry(hash, |entry| entry.id == id)
            && entry.get().since == since
        {
            entry.remove();
        }
    }
}
