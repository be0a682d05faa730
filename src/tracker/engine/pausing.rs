//! Partitions that somebody has paused.

use std::collections::BTreeSet;

use super::{Assigned, Engine, is_in};

/// What has to be done about reading.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PauseChanges {
    /// Partitions to stop reading.
    pub pause: Vec<i32>,
    /// Partitions to read again, and from where on.
    pub resume: Vec<(i32, i64)>,
}

impl Engine {
    /// From now on these partitions are paused, and no others: records of them do not count,
    /// and their watermarks stay where they are, so that nothing ends.
    pub fn set_paused(&mut self, paused: BTreeSet<i32>) -> PauseChanges {
        let mut change = PauseChanges::default();
        for (&number, state) in &self.partitions {
            let Assigned::Live(partition) = state else {
                // Looked at again once it has been restored.
                continue;
            };
            match (self.is_paused(number), paused.contains(&number)) {
                (false, true) => change.pause.push(number),
                (true, false) => change.resume.push((number, partition.position())),
                (false, false) | (true, true) => {}
            }
        }
        self.paused = Some(paused);
        change
    }

    /// Whether it is known which partitions are paused. None is to be restored before, lest
    /// it is read although it is.
    #[must_use]
    pub fn pauses_known(&self) -> bool {
        self.paused.is_some()
    }

    /// Whether a partition is paused, assigned or not.
    #[must_use]
    pub fn is_paused(&self, number: i32) -> bool {
        is_in(self.paused.as_ref(), number)
    }
}
