//! Bursts of events, which wait for memory once instead of once per event.
//!
//! In a table that is larger than the processor's caches, nearly all of what an event
//! costs is waiting for memory: for the index, and through it for the session's slot.
//! Events that are applied one after the other wait one after the other. Lookups alone
//! are so short that the processor has several of them under way at the same time
//! (Chen, Ailamaki, Gibbons, Mowry: "Improving Hash Join Performance through
//! Prefetching", 2004).

use alloc::vec::Vec;
use core::array;
use core::hint::black_box;

use super::{Applied, Key, SessionTable, Timestamp};
use crate::effect::Effect;
use crate::event::Event;
use crate::slots::Flags;

/// The number of sessions looked up at once: enough to use all outstanding memory requests of a
/// core, few enough to stay in its first-level cache.
const GROUP: usize = 32;

/// An event with the offset and timestamp of its record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoggedEvent<'a> {
    /// The event that the record carries.
    pub event: Event<'a>,
    /// The record's offset.
    pub offset: i64,
    /// The record's own Kafka timestamp, capped at the present.
    pub record_timestamp: Timestamp,
}

impl SessionTable {
    /// Applies events one after the other, as [`apply`](SessionTable::apply) does, but
    /// several times as fast where the table is large.
    ///
    /// Calls `outcome` with the outcome of each event and its place in `events`.
    pub fn apply_all(
        &mut self,
        events: &[LoggedEvent<'_>],
        out: &mut Vec<Effect>,
        mut outcome: impl FnMut(usize, Applied),
    ) {
        let mut place = 0;
        for group in events.chunks(GROUP) {
            let key_of = |logged: &LoggedEvent<'_>| self.key_of(logged.event.subject);
            let keys: [Option<Key>; GROUP] = array::from_fn(|at| group.get(at).map(key_of));
            keys.iter().flatten().for_each(|key| self.fetch(key));
            for (logged, key) in group.iter().zip(keys.iter().flatten()) {
                outcome(place, self.apply_keyed(logged, key, out));
                place += 1;
            }
        }
    }

    /// Prefetches the live session of `key` into the processor's caches.
    fn fetch(&self, key: &Key) {
        // Reads the slot without comparing ids, which saves a branch.
        let is_live = |&slot: &u32| self.slots[slot].flags.has(Flags::LIVE);
        black_box(self.index.find(key.hash, is_live));
    }
}
