//! The processes of the installation, from their reports.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::processes::{ProcessReport, ProcessState, is_live};
use crate::session::Timestamp;

/// How long stopped and gone processes are kept.
const RETENTION: Duration = Duration::from_mins(15);
/// Limit on the processes kept; beyond it, the longest silent ones are evicted.
const MAX_PROCESSES: usize = 1_000;

/// All processes that have reported recently, by id.
#[derive(Debug, Default)]
pub struct Processes(BTreeMap<String, Process>);

/// A process and its latest report.
#[derive(Clone, Debug)]
pub struct Process {
    pub report: ProcessReport,
    /// When the report was written.
    pub reported_at: Timestamp,
    /// Rate of session events read between the two latest reports.
    pub events_per_second: Option<f64>,
}

/// The status of a process, the most urgent one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessStatus {
    /// It reports unmet readiness conditions.
    NotReady,
    /// It reports that it is ready.
    Running,
    /// Its reports are overdue.
    Gone,
    /// Its last report announced the end of the process.
    Stopped,
}

impl Processes {
    /// Inserts a report; returns the previous state of the process.
    pub fn insert(&mut self, report: ProcessReport, reported_at: Timestamp) -> Option<Process> {
        let previous = self.0.remove(&report.id);
        let rate = previous.as_ref().and_then(|previous| {
            let (earlier, later) = (previous.report.totals.as_ref()?, report.totals.as_ref()?);
            let millis = reported_at.since(previous.reported_at).as_millis();
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let rate = later.events.saturating_sub(earlier.events) as f64 * 1_000.0 / millis as f64;
            (millis > 0).then_some(rate)
        });
        let process = Process {
            reported_at,
            events_per_second: rate,
            report,
        };
        self.0.insert(process.report.id.clone(), process);
        previous
    }

    /// Removes the processes whose last report is older than the retention.
    pub fn evict(&mut self, now: Timestamp) {
        self.0.retain(|_, process| {
            now.since(process.reported_at).as_millis().unsigned_abs() <= millis(RETENTION)
        });
        while self.0.len() > MAX_PROCESSES {
            let oldest = self.0.values().min_by_key(|process| process.reported_at);
            let Some(id) = oldest.map(|process| process.report.id.clone()) else {
                return;
            };
            self.0.remove(&id);
        }
    }

    /// Iterates over all processes by id.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.0.values()
    }

    /// Iterates over the processes that are running at `now`, ready or not.
    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = &Process> {
        self.iter()
            .filter(move |process| process.status(now).is_live())
    }

    /// Iterates over the live trackers.
    pub fn trackers(&self, now: Timestamp) -> impl Iterator<Item = &Process> {
        self.of_role("tracker", now)
    }

    /// Iterates over the live processes of a role.
    pub fn of_role(&self, role: &str, now: Timestamp) -> impl Iterator<Item = &Process> {
        self.live(now)
            .filter(move |process| process.report.role == role)
    }
}

impl Process {
    #[must_use]
    pub fn status(&self, now: Timestamp) -> ProcessStatus {
        if self.report.state == ProcessState::Stopped {
            ProcessStatus::Stopped
        } else if !is_live(self.reported_at, now) {
            ProcessStatus::Gone
        } else if self.report.not_ready.is_empty() {
            ProcessStatus::Running
        } else {
            ProcessStatus::NotReady
        }
    }
}

impl ProcessStatus {
    /// Whether the process is running, ready or not.
    #[must_use]
    pub fn is_live(self) -> bool {
        self <= Self::Running
    }

    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NotReady => "not ready",
            Self::Running => "running",
            Self::Gone => "gone",
            Self::Stopped => "stopped",
        }
    }

    /// CSS class of its badge.
    #[must_use]
    pub fn severity(self) -> &'static str {
        match self {
            Self::NotReady => "warn",
            Self::Running => "good",
            Self::Gone => "bad",
            Self::Stopped => "idle",
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(id: &str, state: &str, not_ready: &[&str], events: u64) -> ProcessReport {
        let reasons: BTreeMap<_, _> = not_ready.iter().map(|name| (*name, "why")).collect();
        serde_json::from_value(json!({
            "v": 1, "id": id, "role": "tracker", "version": "0", "host": "h", "pid": 1,
            "started_at": "", "reported_at": "", "state": state, "not_ready": reasons,
            "assignments": [], "totals": {"events": events},
        }))
        .unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn a_process_has_the_reported_status_until_its_reports_are_overdue() {
        let mut processes = Processes::default();
        processes.insert(report("a", "running", &[], 0), at(0));
        processes.insert(report("b", "running", &["clock"], 0), at(0));
        processes.insert(report("c", "stopped", &[], 0), at(0));
        let statuses = |processes: &Processes, now| {
            let all = processes.iter().map(|process| process.status(at(now)));
            all.collect::<Vec<_>>()
        };
        use ProcessStatus::{Gone, NotReady, Running, Stopped};
        assert_eq!(statuses(&processes, 9), [Running, NotReady, Stopped]);
        assert_eq!(statuses(&processes, 11), [Gone, Gone, Stopped]);
        processes.insert(report("a", "running", &[], 30), at(12));
        assert_eq!(statuses(&processes, 12), [Running, Gone, Stopped]);
        processes.evict(at(905));
        assert_eq!(processes.iter().count(), 1);
    }

    #[test]
    fn rates_cover_the_time_between_two_reports() {
        let mut processes = Processes::default();
        processes.insert(report("a", "running", &[], 10), at(0));
        processes.insert(report("a", "running", &[], 40), at(3));
        let rates: Vec<_> = processes.iter().map(|one| one.events_per_second).collect();
        assert_eq!(rates, [Some(10.0)]);
    }
}
