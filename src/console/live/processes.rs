//! The processes, by what they report.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::processes::{ProcessReport, ProcessState, is_live};
use crate::session::Timestamp;

/// For how long processes that are over are shown.
const REMEMBERED: Duration = Duration::from_mins(15);
/// Maximum number of processes; beyond it, those with the oldest reports are removed.
const MAX_PROCESSES: usize = 1_000;

/// Processes with recent reports.
#[derive(Debug, Default)]
pub struct Processes(BTreeMap<String, Process>);

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    /// What it said last.
    pub report: ProcessReport,
    /// When it said so.
    pub seen: Timestamp,
    /// Session events that it read, per second; none before its second report.
    pub events_per_second: Option<f64>,
}

/// How a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessStatus {
    /// It reports, and waits for something.
    NotReady,
    /// It reports, and works.
    Running,
    /// It should have reported and has not.
    Gone,
    /// It has said that it would end.
    Stopped,
}

impl Processes {
    /// Takes in a report made at `at`; what the process had said before.
    pub fn take(&mut self, report: ProcessReport, at: Timestamp) -> Option<Process> {
        let before = self.0.remove(&report.id);
        let rate = before.as_ref().and_then(|before| {
            let (earlier, later) = (before.report.totals.as_ref()?, report.totals.as_ref()?);
            let millis = at.since(before.seen).as_millis();
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let rate = later.events.saturating_sub(earlier.events) as f64 * 1_000.0 / millis as f64;
            (millis > 0).then_some(rate)
        });
        let process = Process {
            seen: at,
            events_per_second: rate,
            report,
        };
        self.0.insert(process.report.id.clone(), process);
        before
    }

    /// Forgets those that have been over for long, as of `now`.
    pub fn forget(&mut self, now: Timestamp) {
        let long = |process: &Process| {
            now.since(process.seen).as_millis().unsigned_abs() > millis(REMEMBERED)
        };
        self.0.retain(|_, process| !long(process));
        while self.0.len() > MAX_PROCESSES {
            let oldest = self.0.values().min_by_key(|process| process.seen);
            let Some(id) = oldest.map(|process| process.report.id.clone()) else {
                return;
            };
            self.0.remove(&id);
        }
    }

    /// All of them, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Process> {
        self.0.values()
    }

    /// Those that are there at `now`.
    pub fn present(&self, now: Timestamp) -> impl Iterator<Item = &Process> {
        self.iter()
            .filter(move |process| process.status(now) <= ProcessStatus::Running)
    }

    /// The trackers that are there at `now`.
    pub fn trackers(&self, now: Timestamp) -> impl Iterator<Item = &Process> {
        self.present(now)
            .filter(|process| process.report.role == "tracker")
    }
}

impl Process {
    /// How it is doing at `now`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> ProcessStatus {
        if self.report.state == ProcessState::Stopped {
            ProcessStatus::Stopped
        } else if !is_live(self.seen, now) {
            ProcessStatus::Gone
        } else if self.report.not_ready.is_empty() {
            ProcessStatus::Running
        } else {
            ProcessStatus::NotReady
        }
    }
}

impl ProcessStatus {
    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NotReady => "not ready",
            Self::Running => "running",
            Self::Gone => "gone",
            Self::Stopped => "stopped",
        }
    }

    /// How it is coloured.
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
    fn a_process_is_as_it_says_until_it_says_nothing_any_more() {
        let mut processes = Processes::default();
        processes.take(report("a", "running", &[], 0), at(0));
        processes.take(report("b", "running", &["clock"], 0), at(0));
        processes.take(report("c", "stopped", &[], 0), at(0));
        let standings = |processes: &Processes, now| {
            let all = processes.iter().map(|process| process.status(at(now)));
            all.collect::<Vec<_>>()
        };
        use ProcessStatus::{Gone, NotReady, Running, Stopped};
        assert_eq!(standings(&processes, 9), [Running, NotReady, Stopped]);
        assert_eq!(standings(&processes, 11), [Gone, Gone, Stopped]);
        processes.take(report("a", "running", &[], 30), at(12));
        assert_eq!(standings(&processes, 12), [Running, Gone, Stopped]);
        processes.forget(at(905));
        assert_eq!(processes.iter().count(), 1);
    }

    #[test]
    fn rates_are_of_the_time_between_two_reports() {
        let mut processes = Processes::default();
        processes.take(report("a", "running", &[], 10), at(0));
        processes.take(report("a", "running", &[], 40), at(3));
        let rates: Vec<_> = processes.iter().map(|one| one.events_per_second).collect();
        assert_eq!(rates, [Some(10.0)]);
    }
}
