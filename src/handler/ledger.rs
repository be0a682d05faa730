//! Which offsets of a partition are finished: events finish in any order, but only the
//! contiguous prefix may be committed.

use std::collections::BTreeSet;

/// The books of one partition for as long as it is assigned.
///
/// Only what is *not* finished is kept, so its size is bounded by the work in flight,
/// however far the finished events run ahead of a stuck one.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    unfinished: BTreeSet<i64>,
    /// One past the last offset handed out.
    next: Option<i64>,
}

impl Ledger {
    /// The event at `offset` has been handed out. Offsets rise, with gaps where
    /// transaction markers and aborted records are.
    pub fn start(&mut self, offset: i64) {
        self.unfinished.insert(offset);
        self.next = Some(offset.saturating_add(1));
    }

    /// The event at `offset` needs no more work.
    pub fn finish(&mut self, offset: i64) {
        self.unfinished.remove(&offset);
    }

    /// What may be committed: everything before it is finished.
    ///
    /// `position` is the consumer's, in the same partition. It counts once nothing is
    /// unfinished, because it alone steps past the transaction markers that follow the
    /// last event; without it, a drained topic would show lag for ever.
    #[must_use]
    pub fn committable(&self, position: Option<i64>) -> Option<i64> {
        let oldest = self.unfinished.first().copied();
        oldest.or_else(|| position.max(self.next))
    }

    /// How many offsets have been handed out from the oldest unfinished event on: what is
    /// delivered again, at most, if the process dies now.
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

    /// Offsets with gaps, the order in which they finish, and how many of them do.
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
        fn what_is_committed_leaves_nothing_unfinished_behind_and_no_finished_prefix_out(
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
    fn a_partition_that_only_had_markers_is_committed_past_them() {
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
