//! The processes: who is there, how it is doing, what it has.

use std::collections::BTreeMap;

use askama::Template;
use serde::Serialize;

use super::View;
use super::dashboard::Nothing;
use crate::console::format::{self, Moment, ranges};
use crate::console::live::State;
use crate::console::live::history::report_lag;
use crate::console::live::processes::{Process, ProcessStatus};
use crate::console::state::AppState;
use crate::processes::ProcessReport;
use crate::session::Timestamp;

/// The processes.
#[derive(Template, Serialize)]
#[template(path = "console/consumers.html")]
pub struct Consumers {
    trouble: Option<String>,
    /// By role, then by id; those that are over last.
    processes: Vec<Row>,
    /// How many of each role there are, and how they are doing.
    #[serde(skip)]
    summary: Vec<(String, String)>,
}

/// A process.
#[derive(Debug, Serialize)]
pub struct Row {
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
    /// Its partitions, as ranges.
    partitions: String,
    partition_count: usize,
    restoring: usize,
    /// How many of them somebody has paused.
    paused: usize,
    sessions: usize,
    events_per_second: Option<f64>,
    lag: u64,
    commits: Option<u64>,
    aborts: Option<u64>,
    rebalances: Option<u64>,
    /// The highest generation of a policy that it goes by, by name.
    policies: BTreeMap<String, u64>,
}

impl View for Consumers {
    type Query = Nothing;
    const TITLE: &'static str = "Consumers";
    const PATH: &'static str = "/consumers";

    fn build(_: &AppState, state: &State, now: Timestamp, _: &Nothing) -> Self {
        let mut processes: Vec<_> = state.processes.iter().map(|one| row(one, now)).collect();
        processes.sort_by_key(|row| {
            let over = row.status > ProcessStatus::Running;
            // Those that need a look come first within their role.
            (over, rank(&row.role), row.status, row.id.clone())
        });
        Self {
            trouble: state.trouble.clone(),
            summary: summary(&processes),
            processes,
        }
    }
}

/// By role: `48 running, 2 not ready`.
fn summary(processes: &[Row]) -> Vec<(String, String)> {
    let mut counts: BTreeMap<(usize, &str), BTreeMap<ProcessStatus, usize>> = BTreeMap::new();
    for row in processes {
        let of_role = counts.entry((rank(&row.role), &row.role)).or_default();
        *of_role.entry(row.status).or_default() += 1;
    }
    let told = counts.into_iter().map(|((_, role), standings)| {
        let parts = standings.into_iter();
        let parts = parts.map(|(status, count)| format!("{count} {}", status.label()));
        (role.to_owned(), parts.collect::<Vec<_>>().join(", "))
    });
    told.collect()
}

fn rank(role: &str) -> usize {
    let roles = ["tracker", "handler", "controller", "console"];
    roles
        .iter()
        .position(|known| *known == role)
        .unwrap_or(roles.len())
}

/// Its partitions; by topic, if it has some of several.
fn partitions(report: &ProcessReport) -> String {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for one in &report.assignments {
        topics.entry(&one.topic).or_default().push(one.partition);
    }
    let several = topics.len() > 1;
    let told = topics.into_iter().map(|(topic, numbers)| {
        let numbers = ranges(numbers);
        if several {
            format!("{topic} {numbers}")
        } else {
            numbers
        }
    });
    told.collect::<Vec<_>>().join("; ")
}

fn row(process: &Process, now: Timestamp) -> Row {
    let report = process.report.clone();
    let totals = report.totals.as_ref();
    let status = process.status(now);
    Row {
        status,
        started: Moment::parse(&report.started_at, now),
        reported: Moment::new(process.seen, now),
        partitions: partitions(&report),
        paused: report.assignments.iter().filter(|one| one.paused).count(),
        partition_count: report.assignments.len(),
        restoring: report
            .assignments
            .iter()
            .filter(|one| one.restoring)
            .count(),
        sessions: report.assignments.iter().map(|one| one.sessions).sum(),
        events_per_second: process
            .events_per_second
            .filter(|_| status <= ProcessStatus::Running),
        lag: report_lag(&report),
        commits: totals.map(|totals| totals.commits),
        aborts: totals.map(|totals| totals.aborts),
        rebalances: totals.map(|totals| totals.rebalances),
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
