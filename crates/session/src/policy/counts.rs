//! Counts of live sessions by policy, updated as sessions enter and leave.

use alloc::vec;
use alloc::vec::Vec;

use super::{PolicyIndex, PolicySet};

/// A count for each policy of a set.
#[derive(Clone, Debug)]
pub(crate) struct PolicyCounts(Vec<usize>);

impl PolicyCounts {
    /// Returns zero for each policy of `set`.
    pub(crate) fn new(set: &PolicySet) -> Self {
        Self(vec![0; set.0.len()])
    }

    pub(crate) fn enter(&mut self, policy: PolicyIndex) {
        self.0[usize::from(policy.0)] += 1;
    }

    pub(crate) fn leave(&mut self, policy: PolicyIndex) {
        self.0[usize::from(policy.0)] -= 1;
    }

    /// Iterates over the counts in the order of the set.
    pub(crate) fn counts(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }
}
