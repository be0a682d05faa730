//! Memory of logouts and revocations that ended nothing.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::checkpoint::UnmatchedEnd;
use crate::id::SessionId;
use crate::time::{Span, Timestamp};

/// How many unmatched ends of one id are kept: the latest ones.
const MAX_PER_ID: usize = 4;

/// The unmatched ends of each id.
#[derive(Debug, Default)]
pub(super) struct UnmatchedEnds {
    by_id: HashTable<EndsOfId>,
    /// For each end, its time or that of its reading, whichever is later; some ends have been removed since.
    added: VecDeque<(Timestamp, SessionId, u64)>,
}

#[derive(Debug)]
struct EndsOfId {
    id: SessionId,
    hash: u64,
    /// By time, each time once.
    ends: Vec<UnmatchedEnd>,
}

impl UnmatchedEnds {
    /// Returns the ends of the id by time.
    pub(super) fn of(&self, id: &SessionId, hash: u64) -> &[UnmatchedEnd] {
        let entry = self.by_id.find(hash, |entry| entry.id == *id);
        entry.map_or(&[], |entry| &entry.ends)
    }

    /// Adds an end, unless one of its time is known. Returns whether the earliest of the id had to go.
    pub(super) fn insert(
        &mut self,
        id: &SessionId,
        hash: u64,
        end: UnmatchedEnd,
        now: Timestamp,
    ) -> bool {
        let is_same = |entry: &EndsOfId| entry.id == *id;
        let new = || EndsOfId {
            id: id.clone(),
            hash,
            ends: Vec::new(),
        };
        let entry = self.by_id.entry(hash, is_same, |entry| entry.hash);
        let ends = &mut entry.or_insert_with(new).into_mut().ends;
        let Err(place) = ends.binary_search_by_key(&end.at, |end| end.at) else {
            return false;
        };
        self.added.push_back((now.max(end.at), id.clone(), hash));
        ends.insert(place, end);
        let is_full = ends.len() > MAX_PER_ID;
        if is_full {
            ends.remove(0);
        }
        is_full
    }

    pub(super) fn remove(&mut self, id: &SessionId, hash: u64, at: Timestamp) {
        self.retain(id, hash, |end| end.at != at);
    }

    pub(super) fn remove_all(&mut self, id: &SessionId, hash: u64) {
        self.retain(id, hash, |_| false);
    }

    fn retain(&mut self, id: &SessionId, hash: u64, is_kept: impl Fn(&UnmatchedEnd) -> bool) {
        if let Ok(mut entry) = self.by_id.find_entry(hash, |entry| entry.id == *id) {
            entry.get_mut().ends.retain(is_kept);
            if entry.get().ends.is_empty() {
                entry.remove();
            }
        }
    }

    /// Removes the ends that can concern no session any more at `now`.
    pub(super) fn expire(&mut self, now: Timestamp, lateness: Span) {
        while let Some((since, ..)) = self.added.front()
            && *since + lateness <= now
        {
            self.remove_oldest();
        }
    }

    /// Returns the number of ends, removed ones included.
    pub(super) fn len(&self) -> usize {
        self.added.len()
    }

    pub(super) fn remove_oldest(&mut self) {
        if let Some((since, id, hash)) = self.added.pop_front() {
            self.retain(&id, hash, |end| end.at > since);
        }
    }
}
