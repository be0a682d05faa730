//! The processes: status, partitions and activity of each.

use std::collections::BTreeMap;

use askama::Template;
use serde::Serialize;

use super::menu::{PROCESSES, PageInfo};
use super::{NoParams, Page};
use crate::console::format::{self, Moment, ranges};
use crate::console::live::LiveState;
use crate::console::live::history::report_lag;
use crate::console::live::processes::{Process, ProcessStatus};
use crate::console::state::AppState;
use crate::processes::ProcessReport;
use crate::session::Timestamp;

#[derive(Template, Serialize)]
#[template(path = "console/processes.html")]
pub struct ProcessesPage {
    kafka_error: Option<String>,
    /// Live ones first, by role, status and id.
    processes: Vec<ProcessRow>,
    /// Number of processes with each status, by role.
    #[serde(skip)]
    summary: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
pub struct ProcessRow {
    id: String,
    role: String,
    version: String,
    host: String,
    pid: u32,
    admin: Option<String>,
    status: ProcessStatus,
    not_ready: BTreeMap<String, String>,
    started: Option<Moment>,
    reported: Moment,
    /// Ranges of partitions.
    partitions: String,
    partition_count: usize,
    restoring: usize,
    /// Partitions paused by an operator.
    paused: usize,
    sessions: usize,
    events_per_second: Option<f64>,
    lag: u64,
    commits: Option<u64>,
    aborts: Option<u64>,
    rebalances: Option<u64>,
    /// Events that producers had written to the wrong partition.
    forwarded: Option<u64>,
    /// Highest active generation of each policy, by name.
    policies: BTreeMap<String, u64>,
}

impl Page for ProcessesPage {
    type Params = NoParams;
    const INFO: PageInfo = PROCESSES;

    fn build(_: &AppState, state: &LiveState, now: Timestamp, _: &NoParams) -> Self {
        let mut processes: Vec<_> = state.processes.iter().map(|one| row(one, now)).collect();
        processes.sort_by_key(|row| {
            let ended = !row.status.is_live();
            (ended, rank(&row.role), row.status, row.id.clone())
        });
        Self {
            kafka_error: state.kafka_error.clone(),
            summary: summary(&processes),
            processes,
        }
    }
}

/// Summarizes each role, as in `48 running, 2 not ready`.
fn summary(processes: &[ProcessRow]) -> Vec<(String, String)> {
    let mut counts: BTreeMap<(usize, &str), BTreeMap<ProcessStatus, usize>> = BTreeMap::new();
    for row in processes {
        let of_role = counts.entry((rank(&row.role), &row.role)).or_default();
        *of_role.entry(row.status).or_default() += 1;
    }
    let summary = counts.into_iter().map(|((_, role), statuses)| {
        let parts = statuses.into_iter();
        let parts = parts.map(|(status, count)| format!("{count} {}", status.label()));
        (role.to_owned(), parts.collect::<Vec<_>>().join(", "))
    });
    summary.collect()
}

fn rank(role: &str) -> usize {
    let roles = ["tracker", "handler", "ingest", "controller", "console"];
    roles
        .iter()
        .position(|known| *known == role)
        .unwrap_or(roles.len())
}

/// Formats the partitions of a process, with their topics if there are several.
fn partitions(report: &ProcessReport) -> String {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for one in &report.assignments {
        topics.entry(&one.topic).or_default().push(one.partition);
    }
    let several = topics.len() > 1;
    let ranges = topics.into_iter().map(|(topic, numbers)| {
        let numbers = ranges(numbers);
        if several {
            format!("{topic} {numbers}")
        } else {
            numbers
        }
    });
    ranges.collect::<Vec<_>>().join("; ")
}

fn row(process: &Process, now: Timestamp) -> ProcessRow {
    let report = process.report.clone();
    let totals = report.totals.as_ref();
    let status = process.status(now);
    ProcessRow {
        status,
        started: Moment::parse(&report.started_at, now),
        reported: Moment::new(process.reported_at, now),
        partitions: partitions(&report),
        paused: report.assignments.iter().filter(|one| one.paused).count(),
        partition_count: report.assignments.len(),
        restoring: report
            .assignments
            .iter()
            .filter(|one| one.restoring)
            .count(),
        sessions: report.assignments.iter().map(|one| one.sessions).sum(),
        events_per_second: process.events_per_second.filter(|_| status.is_live()),
        lag: report_lag(&report),
        commits: totals.map(|totals| totals.commits),
        aborts: totals.map(|totals| totals.aborts),
        rebalances: totals.map(|totals| totals.rebalances),
        forwarded: totals.map(|totals| totals.misrouted),
        policies: report
            .policies
            .into_iter()
            .map(|policy| (policy.name, policy.generation))
            .collect(),
        id: report.id,
        role: report.role,
        version: report.version,
        host: report.host,
        pid: report.pid,
        admin: report.admin,
        not_ready: report.not_ready,
    }
}
