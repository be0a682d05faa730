//! The progress of the consumers on their partitions, for process reports.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::partitions::Partitions;
use crate::processes::{ActionProgress, Assignment};

/// The latest progress of a process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Assignments(Arc<Mutex<Progress>>);

#[derive(Debug, Default)]
struct Progress {
    /// Of the consumer that checks terminal events.
    assignments: Vec<Assignment>,
    /// By consumer group.
    actions: BTreeMap<String, ActionProgress>,
}

impl Assignments {
    /// Replaces the progress of the consumer that checks the events of `topic`. Partitions may be
    /// missing from `positions` and `ends`.
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
        self.lock().assignments = assignments.collect();
    }

    /// Replaces the progress of an action.
    pub fn update_action(&self, progress: ActionProgress) {
        self.lock().actions.insert(progress.group.clone(), progress);
    }

    /// The partitions of terminal events.
    #[must_use]
    pub fn all(&self) -> Vec<Assignment> {
        self.lock().assignments.clone()
    }

    /// The progress of all actions.
    #[must_use]
    pub fn actions(&self) -> Vec<ActionProgress> {
        self.lock().actions.values().cloned().collect()
    }

    /// Entries are replaced as a whole, so a poisoned lock guards valid data.
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
