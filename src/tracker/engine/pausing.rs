//! Partitions that an operator has paused.

use std::collections::BTreeSet;

use super::{Assigned, Engine, is_in};

/// Partitions to stop or to start reading.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PauseDiff {
    pub pause: Vec<i32>,
    /// With the position to resume from.
    pub resume: Vec<(i32, i64)>,
}

impl Engine {
    /// Pauses exactly these partitions: their records are ignored and their watermarks stand
    /// still, so that no session ends.
    pub fn set_paused(&mut self, paused: BTreeSet<i32>) -> PauseDiff {
        let mut diff = PauseDiff::default();
        for (&number, state) in &self.partitions {
            let Assigned::Live(partition) = state else {
                // Checked once it has been restored.
                continue;
            };
            match (self.is_paused(number), paused.contains(&number)) {
                (false, true) => diff.pause.push(number),
                (true, false) => diff.resume.push((number, partition.position())),
                (false, false) | (true, true) => {}
            }
        }
        self.paused = Some(paused);
        diff
    }

    /// Returns whether the paused partitions are known. A partition that is restored before
    /// that could be read although it is paused.
    #[must_use]
    pub fn pauses_known(&self) -> bool {
        self.paused.is_some()
    }

    /// Returns whether a partition is paused, assigned or not.
    #[must_use]
    pub fn is_paused(&self, number: i32) -> bool {
        is_in(self.paused.as_ref(), number)
    }
}
