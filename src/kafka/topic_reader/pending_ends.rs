//! Where a bounded read ends.

use std::collections::BTreeMap;

/// The end offsets that a read has not reached yet, by partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingEnds(BTreeMap<i32, i64>);

impl PendingEnds {
    /// Whether all ends have been reached.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the offset precedes an end that has not been reached.
    #[must_use]
    pub fn contains(&self, partition: i32, offset: i64) -> bool {
        self.0.get(&partition).is_some_and(|end| offset < *end)
    }

    /// Records that everything before `position` has been read; returns whether that reaches
    /// the partition's end.
    pub fn advance(&mut self, partition: i32, position: i64) -> bool {
        let reached = self.0.get(&partition).is_some_and(|end| *end <= position);
        if reached {
            self.0.remove(&partition);
        }
        reached
    }

    /// Whether every end is at most that of its partition in `ends`.
    #[must_use]
    pub fn are_within(&self, ends: &BTreeMap<i32, i64>) -> bool {
        let mut pending = self.0.iter();
        pending.all(|(partition, end)| ends.get(partition) >= Some(end))
    }
}

impl FromIterator<(i32, i64)> for PendingEnds {
    fn from_iter<I: IntoIterator<Item = (i32, i64)>>(ends: I) -> Self {
        Self(ends.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_pending_until_the_position_reaches_it() {
        let mut pending: PendingEnds = [(0, 3), (1, 5)].into_iter().collect();
        assert!(pending.contains(0, 2));
        assert!(!pending.contains(0, 3));
        assert!(!pending.contains(2, 0));
        assert!(!pending.advance(0, 2));
        assert!(!pending.advance(2, 9));
        assert!(pending.advance(0, 3));
        assert!(!pending.contains(0, 2));
        assert!(!pending.is_empty());
        assert!(pending.advance(1, i64::MAX));
        assert!(pending.is_empty());
    }

    #[test]
    fn ends_are_compared_partition_by_partition() {
        let pending: PendingEnds = [(0, 3), (1, 5)].into_iter().collect();
        let within = |ends: &[(i32, i64)]| pending.are_within(&ends.iter().copied().collect());
        assert!(within(&[(0, 3), (1, 6)]));
        assert!(!within(&[(0, 9), (1, 4)]));
        assert!(!within(&[(0, 9)]));
    }
}
