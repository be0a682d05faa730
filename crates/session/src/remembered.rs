//! Memory of ended sessions.
//!
//! Entries lie in the order in which they were added, in chunks that never move; an index finds them by
//! session id. They are forgotten from the front, so a timer for each is not needed. An entry that is
//! removed before stays as a gap until the front reaches it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use hashbrown::HashTable;

use super::checkpoint::RememberedEnding;
use super::id::{Packed, SessionId};
use super::reason::EndReason;
use super::time::{Span, Timestamp};

const CHUNK: u32 = 256;
/// Ages are known to this fraction of the time to remember.
const MARKS: i64 = 64;
/// The bits of the reason, all set in a gap.
const REASON: u32 = 7;
const GAP: u32 = 7;
/// Set until the checkpoint record of the id has been written.
const OUTDATED: u32 = 8;
const AFTER_SHIFT: u32 = 4;

/// 36 bytes an entry; with the index, no more than 48.
#[derive(Debug)]
struct Chunk {
    ids: [Packed; CHUNK as usize],
    ended_at: [Timestamp; CHUNK as usize],
    /// The reason or [`GAP`], [`OUTDATED`], and above them 0 or 1 + the milliseconds to the latest
    /// in-flight activity.
    tails: [u32; CHUNK as usize],
}

/// Endings by session id, oldest first.
#[derive(Debug)]
pub(super) struct Remembered {
    /// How long an ending is remembered, at least.
    duration: Span,
    hash_key: (u64, u64),
    index: HashTable<u32>,
    chunks: VecDeque<Box<Chunk>>,
    /// The number of the oldest entry; numbers wrap around.
    first: u32,
    /// The number of entries and gaps.
    length: u32,
    /// Times, each with the number of the first entry added at or after it, oldest first.
    marks: VecDeque<(Timestamp, u32)>,
}

impl Remembered {
    pub(super) fn new(duration: Span, hash_key: (u64, u64)) -> Self {
        Self {
            duration,
            hash_key,
            index: HashTable::new(),
            chunks: VecDeque::new(),
            first: 0,
            length: 0,
            marks: VecDeque::new(),
        }
    }

    /// Returns the number of remembered endings.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns the number of entries and gaps, which is what memory is needed for.
    pub(super) fn length(&self) -> usize {
        self.length as usize
    }

    pub(super) fn get(&self, id: &SessionId, hash: u64) -> Option<RememberedEnding> {
        let (chunk, at) = self.find(id, hash)?;
        let chunk = &self.chunks[chunk];
        let ended_at = chunk.ended_at[at];
        let tail = chunk.tails[at];
        let reason = EndReason::ALL.get((tail & REASON) as usize).copied()?;
        let in_flight = match tail >> AFTER_SHIFT {
            0 => None,
            after => Some(ended_at + Span::from_millis(i64::from(after - 1))),
        };
        Some(RememberedEnding {
            reason,
            ended_at,
            in_flight,
        })
    }

    /// Remembers an ending in place of an earlier one of the id. `now` is the watermark.
    pub(super) fn insert(
        &mut self,
        id: &SessionId,
        hash: u64,
        ending: RememberedEnding,
        now: Timestamp,
    ) {
        let was_outdated = self.mark_stored(id, hash);
        self.remove(id, hash);
        self.mark(now.max(ending.ended_at));
        let number = self.first.wrapping_add(self.length);
        self.length += 1;
        let (chunk, at) = self.place(number);
        if chunk == self.chunks.len() {
            self.chunks.push_back(Box::default());
        }
        let chunk = &mut self.chunks[chunk];
        chunk.ids[at] = id.clone();
        chunk.ended_at[at] = ending.ended_at;
        chunk.tails[at] = tail(ending) | if was_outdated { OUTDATED } else { 0 };
        let (chunks, first, key) = (&self.chunks, self.first, self.hash_key);
        self.index.insert_unique(hash, number, |&number| {
            let (chunk, at) = place(first, number);
            chunks[chunk].ids[at].keyed_hash(key)
        });
    }

    /// Replaces the ending that is remembered for the id, which goes on being as old as it is.
    pub(super) fn replace(&mut self, id: &SessionId, hash: u64, ending: RememberedEnding) {
        if let Some((chunk, at)) = self.find(id, hash) {
            let outdated = self.chunks[chunk].tails[at] & OUTDATED;
            self.chunks[chunk].ended_at[at] = ending.ended_at;
            self.chunks[chunk].tails[at] = tail(ending) | outdated;
        }
    }

    /// Notes that the record of the id is out of date. Returns whether it was not before.
    pub(super) fn mark_outdated(&mut self, id: &SessionId, hash: u64) -> bool {
        self.set_outdated(id, hash, OUTDATED)
    }

    /// Notes that the record of the id has been written. Returns whether it was out of date.
    pub(super) fn mark_stored(&mut self, id: &SessionId, hash: u64) -> bool {
        self.set_outdated(id, hash, 0)
    }

    fn set_outdated(&mut self, id: &SessionId, hash: u64, to: u32) -> bool {
        let Some((chunk, at)) = self.find(id, hash) else {
            return false;
        };
        let tail = &mut self.chunks[chunk].tails[at];
        let before = *tail & OUTDATED;
        *tail = *tail & !OUTDATED | to;
        before != to
    }

    pub(super) fn remove(&mut self, id: &SessionId, hash: u64) {
        let (chunks, first) = (&self.chunks, self.first);
        let entry = self.index.find_entry(hash, |&number| {
            let (chunk, at) = place(first, number);
            chunks[chunk].ids[at] == *id
        });
        if let Ok(entry) = entry {
            let (number, _) = entry.remove();
            self.clear(number);
        }
    }

    /// Forgets and returns the oldest ending that has been remembered for long enough at `now`.
    pub(super) fn pop_expired(&mut self, now: Timestamp) -> Option<SessionId> {
        loop {
            let &(time, _) = self.marks.front()?;
            // The entries of a mark may be younger than it by a step.
            if time + self.duration + self.step() > now {
                return None;
            }
            let next = self.marks.get(1).map(|&(_, number)| number);
            let end = next.unwrap_or(self.first.wrapping_add(self.length));
            let left = end.wrapping_sub(self.first);
            // More than there are: the bound has removed entries past the end of this mark.
            if left == 0 || left > self.length {
                self.marks.pop_front();
            } else if let Some(id) = self.pop_front() {
                return Some(id);
            }
        }
    }

    /// Forgets the oldest entry; `None` if it is a gap or there is none.
    pub(super) fn pop_front(&mut self) -> Option<SessionId> {
        if self.length == 0 {
            return None;
        }
        let number = self.first;
        let (_, at) = self.place(number);
        let is_gap = self.chunks[0].tails[at] & REASON == GAP;
        let id = (!is_gap).then(|| {
            let id = self.id(number).clone();
            let hash = id.keyed_hash(self.hash_key);
            if let Ok(entry) = self.index.find_entry(hash, |&found| found == number) {
                entry.remove();
            }
            self.clear(number);
            id
        });
        self.first = self.first.wrapping_add(1);
        self.length -= 1;
        if self.first.is_multiple_of(CHUNK) {
            self.chunks.pop_front();
        }
        id
    }

    fn mark(&mut self, now: Timestamp) {
        let number = self.first.wrapping_add(self.length);
        let is_due = |&(latest, _): &(Timestamp, u32)| now > latest + self.step();
        if self.marks.back().is_none_or(is_due) {
            self.marks.push_back((now, number));
        }
    }

    fn step(&self) -> Span {
        Span::from_millis(self.duration.as_millis() / MARKS)
    }

    fn clear(&mut self, number: u32) {
        let (chunk, at) = self.place(number);
        self.chunks[chunk].ids[at] = Packed::new("");
        self.chunks[chunk].tails[at] = GAP;
    }

    fn id(&self, number: u32) -> &SessionId {
        let (chunk, at) = self.place(number);
        &self.chunks[chunk].ids[at]
    }

    fn find(&self, id: &SessionId, hash: u64) -> Option<(usize, usize)> {
        let number = self.index.find(hash, |&number| self.id(number) == id);
        number.map(|&number| self.place(number))
    }

    fn place(&self, number: u32) -> (usize, usize) {
        place(self.first, number)
    }
}

/// Returns the chunk and the place in it of the entry `number`. Chunks begin at multiples of their size.
fn place(first: u32, number: u32) -> (usize, usize) {
    let base = first - first % CHUNK;
    let distance = number.wrapping_sub(base);
    ((distance / CHUNK) as usize, (distance % CHUNK) as usize)
}

fn tail(ending: RememberedEnding) -> u32 {
    const MAX_AFTER: u32 = u32::MAX >> AFTER_SHIFT;
    let after = ending.in_flight.map_or(0, |at| {
        let millis = at.since(ending.ended_at).as_millis().saturating_add(1);
        u32::try_from(millis).unwrap_or(MAX_AFTER).min(MAX_AFTER)
    });
    ending.reason as u32 | after << AFTER_SHIFT
}

impl Default for Chunk {
    fn default() -> Self {
        Self {
            ids: core::array::from_fn(|_| Packed::new("")),
            ended_at: [Timestamp::MIN; CHUNK as usize],
            tails: [GAP; CHUNK as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const KEY: (u64, u64) = (1, 2);

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, i64, Option<i64>),
        Remove(u8),
        PopFront,
        Advance(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (any::<u8>(), 0..50_i64, any::<Option<i64>>()).prop_map(|(id, at, after)| {
                Step::Insert(id, at, after.map(|after| after.rem_euclid(1_000_000)))
            }),
            1 => any::<u8>().prop_map(Step::Remove),
            1 => Just(Step::PopFront),
            2 => (0..300_i64).prop_map(Step::Advance),
        ];
        proptest::collection::vec(step, 0..1_500)
    }

    proptest! {
        #[test]
        fn endings_are_found_until_they_are_forgotten(steps in steps()) {
            let duration = 640;
            let mut remembered = Remembered::new(Span::from_millis(duration), KEY);
            let mut model: BTreeMap<String, (RememberedEnding, i64)> = BTreeMap::new();
            let mut now = 0;
            for step in steps {
                match step {
                    Step::Insert(id, before, after) => {
                        let id = Packed::new(&id.to_string());
                        let ended_at = Timestamp::from_millis(now - before);
                        let ending = RememberedEnding {
                            reason: EndReason::ALL[usize::try_from(before % 6).unwrap()],
                            ended_at,
                            in_flight: after.map(|after| ended_at + Span::from_millis(after)),
                        };
                        let hash = id.keyed_hash(KEY);
                        remembered.insert(&id, hash, ending, Timestamp::from_millis(now));
                        model.insert(id.to_string(), (ending, now));
                    }
                    Step::Remove(id) => {
                        let id = Packed::new(&id.to_string());
                        remembered.remove(&id, id.keyed_hash(KEY));
                        model.remove(&id.to_string());
                    }
                    Step::PopFront => {
                        if let Some(id) = remembered.pop_front() {
                            let (_, oldest) = model.remove(&id.to_string()).unwrap();
                            prop_assert!(model.values().all(|(_, at)| *at >= oldest));
                        }
                    }
                    Step::Advance(by) => {
                        now += by;
                        while let Some(id) = remembered.pop_expired(Timestamp::from_millis(now)) {
                            let (_, at) = model.remove(&id.to_string()).unwrap();
                            prop_assert!(at + duration <= now, "{id} at {at}, forgotten at {now}");
                        }
                        let slack = 2 * duration / MARKS + 1;
                        prop_assert!(model.values().all(|(_, at)| at + duration + slack > now));
                    }
                }
                prop_assert_eq!(remembered.len(), model.len());
                for (id, (ending, _)) in &model {
                    let id = Packed::new(id);
                    prop_assert_eq!(remembered.get(&id, id.keyed_hash(KEY)), Some(*ending));
                }
            }
        }
    }

    #[test]
    fn an_entry_takes_36_bytes() {
        assert_eq!(size_of::<Chunk>(), 36 * CHUNK as usize);
    }
}
