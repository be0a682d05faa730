//! Paused partitions, as pages show them.

use serde::Serialize;

use crate::console::format::Moment;
use crate::console::live;
use crate::policy::pauses::{PausableRole, RolePartition};
use crate::session::Timestamp;

/// A partition that is paused.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub role: PausableRole,
    pub partition: i32,
    pub since: Option<Moment>,
    pub by: String,
    pub reason: String,
    /// Whether the partition's owner reports the pause; `None` without an owner.
    pub obeyed: Option<bool>,
}

/// Returns the paused partitions, each with whether its owner applies the pause.
pub fn rows(state: &live::State, now: Timestamp) -> Vec<Row> {
    let pauses = state.policies.pauses().iter();
    let rows = pauses.map(|(place, pause)| Row {
        role: place.role,
        partition: place.partition,
        since: Moment::parse(&pause.at, now),
        by: pause.by.clone(),
        reason: pause.reason.clone(),
        obeyed: obeyed(place, state, now),
    });
    rows.collect()
}

fn obeyed(place: RolePartition, state: &live::State, now: Timestamp) -> Option<bool> {
    let processes = state.processes.present(now);
    let of_role = processes.filter(|process| process.report.role == place.role.as_str());
    let mut owned = of_role
        .flat_map(|process| &process.report.assignments)
        .filter(|one| one.partition == place.partition)
        .peekable();
    owned.peek()?;
    Some(owned.any(|one| one.paused))
}
