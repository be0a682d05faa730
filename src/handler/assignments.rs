//! How far the readers have come on their partitions, for process reports.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::partitions::Partitions;
use crate::processes::Assignment;

/// What the readers of a process have told last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Assignments(Arc<Mutex<BTreeMap<String, Vec<Assignment>>>>);

impl Assignments {
    /// The reader of `topic` has these partitions. Positions and ends are known of those
    /// that are in the maps.
    pub fn tell(
        &self,
        topic: &str,
        partitions: &Partitions,
        positions: &BTreeMap<i32, i64>,
        ends: &BTreeMap<i32, i64>,
    ) {
        let assignments = partitions.owned().into_iter().map(|partition| Assignment {
            topic: topic.to_owned(),
            partition,
            restoring: false,
            position: positions.get(&partition).copied(),
            end: ends.get(&partition).copied(),
            watermark: None,
            sessions: 0,
            paused: partitions.is_held(partition),
        });
        self.lock().insert(topic.to_owned(), assignments.collect());
    }

    /// The partitions of all readers.
    #[must_use]
    pub fn assignments(&self) -> Vec<Assignment> {
        self.lock().values().flatten().cloned().collect()
    }

    /// Each reader's entry is replaced as a whole, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Assignment>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
