//! The progress of the handlers' actions, by their process reports.

use std::collections::BTreeMap;

use serde::Serialize;

use super::LiveState;
use crate::session::Timestamp;

/// The progress of one action for one kind of event, over all live handlers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActionRow {
    pub action: String,
    /// `ending` or `warning`.
    pub trigger: String,
    pub group: String,
    /// Partitions that handlers have been assigned.
    pub partitions: usize,
    /// Offsets from the oldest event that is not finished to the end.
    pub backlog: i64,
    /// Why a circuit is open.
    pub problem: Option<String>,
    #[serde(skip)]
    pub severity: &'static str,
    pub condition: &'static str,
}

/// The actions of all live handlers, those that are furthest behind first.
pub fn action_rows(state: &LiveState, now: Timestamp) -> Vec<ActionRow> {
    let mut rows: BTreeMap<&str, ActionRow> = BTreeMap::new();
    let processes = state.processes.live(now);
    for one in processes.flat_map(|process| &process.report.actions) {
        let row = rows.entry(&one.group).or_insert_with(|| ActionRow {
            action: one.action.clone(),
            trigger: one.trigger.clone(),
            group: one.group.clone(),
            partitions: 0,
            backlog: 0,
            problem: None,
            severity: "good",
            condition: "working",
        });
        row.partitions += one.partitions;
        row.backlog = row.backlog.saturating_add(one.backlog);
        if let Some(problem) = &one.problem {
            row.problem.get_or_insert_with(|| problem.clone());
            (row.severity, row.condition) = ("bad", "circuit open");
        }
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.backlog));
    rows
}
