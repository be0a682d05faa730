//! The finished offsets of a partition. Events finish in any order; only a contiguous prefix is
//! committed.

use std::collections::BTreeSet;

/// Tracks the offsets of one partition for the time of one assignment.
///
/// It holds *unfinished* offsets only. The number of events in flight bounds its size, however
/// far finished events run ahead of a stuck one.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    unfinished: BTreeSet<i64>,
    /// One past the last offset started.
    next: Option<i64>,
}

impl Ledger {
    /// Marks the event at `offset` as in flight. Offsets rise, with gaps for transaction markers
    /// and aborted records.
    pub fn start(&mut self, offset: i64) {
        self.unfinished.insert(offset);
        self.next = Some(offset.saturating_add(1));
    }

    /// Marks the event at `offset` as finished.
    pub fn finish(&mut self, offset: i64) {
        self.unfinished.remove(&offset);
    }

    /// The offset that may be committed: everything before it is finished.
    ///
    /// `position` is the consumer's, in the same partition. It applies once all events are
    /// finished: only the position moves past the transaction markers that follow the last
    /// event. Without it, a drained topic would show lag forever.
    #[must_use]
    pub fn committable(&self, position: Option<i64>) -> Option<i64> {
        let oldest = self.unfinished.first().copied();
        oldest.or_else(|| position.max(self.next))
    }

    /// The number of offsets from the oldest unfinished event to the last one started. If the
    /// process dies, at most these events are redelivered.
    #[must_use]
    pub fn span(&self) -> i64 {
        match (self.unfinished.first(), self.next) {
            (Some(oldest), Some(next)) => next.saturating_sub(*oldest),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Offsets with gaps, the order in which they finish, and the number that finish.
    fn histories() -> impl Strategy<Value = (Vec<i64>, Vec<i64>, usize)> {
        proptest::collection::btree_set(0_i64..500, 1..50).prop_flat_map(|offsets| {
            let offsets: Vec<i64> = offsets.into_iter().collect();
            let order = Just(offsets.clone()).prop_shuffle();
            let count = 0..=offsets.len();
            (Just(offsets), order, count)
        })
    }

    proptest! {
        #[test]
        fn the_committable_offset_is_the_oldest_unfinished_one_or_the_position(
            (offsets, order, count) in histories(), markers in 0_i64..3
        ) {
            let mut ledger = Ledger::default();
            prop_assert_eq!(ledger.committable(None), None);
            offsets.iter().for_each(|&offset| ledger.start(offset));
            order[..count].iter().for_each(|&offset| ledger.finish(offset));

            let position = offsets[offsets.len() - 1] + 1 + markers;
            let committable = ledger.committable(Some(position)).unwrap();
            let open: Vec<i64> = order[count..].to_vec();
            prop_assert_eq!(committable, open.iter().copied().min().unwrap_or(position));
            let span = open.iter().min().map_or(0, |oldest| offsets[offsets.len() - 1] + 1 - oldest);
            prop_assert_eq!(ledger.span(), span);
        }
    }

    #[test]
    fn a_partition_with_nothing_but_markers_is_committed_past_them() {
        assert_eq!(Ledger::default().committable(Some(2)), Some(2));
    }

    #[test]
    fn an_event_that_finishes_twice_counts_once() {
        let mut ledger = Ledger::default();
        ledger.start(4);
        ledger.start(5);
        ledger.finish(4);
        ledger.finish(4);
        assert_eq!(ledger.committable(Some(6)), Some(5));
    }
}
