//! The progress of the consumers on their partitions, for process reports.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::partitions::Partitions;
use crate::processes::Assignment;

/// The latest progress of each consumer of a process, by topic. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Assignments(Arc<Mutex<BTreeMap<String, Vec<Assignment>>>>);

impl Assignments {
    /// Replaces the progress of the consumer of `topic`. Partitions may be missing from
    /// `positions` and `ends`.
    pub fn update(
        &self,
        topic: &str,
        partitions: &Partitions,
        positions: &BTreeMap<i32, i64>,
        ends: &BTreeMap<i32, i64>,
    ) {
        let paused = partitions.operator_paused();
        let assignments = partitions.owned().into_iter().map(|partition| Assignment {
            topic: topic.to_owned(),
            partition,
            restoring: false,
            position: positions.get(&partition).copied(),
            end: ends.get(&partition).copied(),
            watermark: None,
            sessions: 0,
            paused: paused.contains(&partition),
        });
        self.lock().insert(topic.to_owned(), assignments.collect());
    }

    /// The partitions of all consumers.
    #[must_use]
    pub fn all(&self) -> Vec<Assignment> {
        self.lock().values().flatten().cloned().collect()
    }

    /// Entries are replaced as a whole, so a poisoned lock guards valid data.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Assignment>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
