//! Paused partitions.

use serde::Serialize;

use super::LiveState;
use crate::console::format::Moment;
use crate::policy::pauses::{PausableRole, RolePartition};
use crate::session::Timestamp;

/// A paused partition.
#[derive(Clone, Debug, Serialize)]
pub struct PauseRow {
    pub role: PausableRole,
    pub partition: i32,
    pub since: Option<Moment>,
    pub by: String,
    pub reason: String,
    /// Whether the owner of the partition reports the pause; `None` without an owner.
    pub applied: Option<bool>,
}

/// Lists the paused partitions.
pub fn pause_rows(state: &LiveState, now: Timestamp) -> Vec<PauseRow> {
    let pauses = state.policies.pauses().iter();
    let rows = pauses.map(|(place, pause)| PauseRow {
        role: place.role,
        partition: place.partition,
        since: Moment::parse(&pause.at, now),
        by: pause.by.clone(),
        reason: pause.reason.clone(),
        applied: is_applied(place, state, now),
    });
    rows.collect()
}

fn is_applied(place: RolePartition, state: &LiveState, now: Timestamp) -> Option<bool> {
    let processes = state.processes.live(now);
    let of_role = processes.filter(|process| process.report.role == place.role.as_str());
    let mut owned = of_role
        .flat_map(|process| &process.report.assignments)
        .filter(|one| one.partition == place.partition)
        .peekable();
    owned.peek()?;
    Some(owned.any(|one| one.paused))
}
