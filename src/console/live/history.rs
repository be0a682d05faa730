//! Activity of the trackers during the last 15 minutes, in steps of three seconds.
//!
//! Reports arrive at irregular times. Counts between two reports of a process are spread over
//! the steps between them, so that rates do not depend on when reports arrive. Each step
//! samples the gauges of every process exactly once.

use std::collections::VecDeque;

use crate::processes::{ProcessReport, Totals};
use crate::session::{EndReason, Timestamp};

/// Length of a step in milliseconds, the interval between two reports.
pub const STEP_MILLIS: i64 = 3_000;
/// Steps of the window: 15 minutes.
pub const STEPS: usize = 300;
/// The newest steps, which lack the reports of some processes and are not shown.
const INCOMPLETE_STEPS: i64 = 2;
/// Steps kept: those of the window, and incomplete ones on either side.
const MAX_STEPS: usize = STEPS + 4;
/// How long the gauges of a report stay valid if the next one is late, in milliseconds.
const GAUGE_VALIDITY_MILLIS: i64 = 10_000;

/// Activity within a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryStep {
    /// Session events read.
    pub events: f64,
    /// Sessions ended, in the order of [`EndReason::ALL`].
    pub endings: [f64; EndReason::ALL.len()],
    /// Timeouts per bucket of lateness.
    pub lateness: Vec<f64>,
    pub rebalances: f64,
    pub sessions: f64,
    /// Session events not yet read.
    pub lag: f64,
    /// Live trackers; 0 before the first report.
    pub trackers: u32,
}

/// The most recent steps.
#[derive(Debug, Default)]
pub struct History {
    /// Number of the newest step since 1970.
    newest: i64,
    steps: VecDeque<HistoryStep>,
    /// Upper bounds of the lateness buckets, in seconds.
    bounds: Vec<f64>,
}

impl History {
    /// Records a report made at `to`, and the counts since the `previous` one of the process.
    pub fn record(
        &mut self,
        previous: Option<(&ProcessReport, Timestamp)>,
        report: &ProcessReport,
        to: Timestamp,
    ) {
        let Some(totals) = &report.totals else {
            return;
        };
        let to = to.as_millis();
        let from = previous.map_or(to - STEP_MILLIS, |(_, at)| at.as_millis());
        let sessions: usize = report.assignments.iter().map(|one| one.sessions).sum();
        let (sessions, lag) = (to_f64(sessions as u64), to_f64(report_lag(report)));
        let first = from.max(to - GAUGE_VALIDITY_MILLIS).div_euclid(STEP_MILLIS) + 1;
        for number in first..=to.div_euclid(STEP_MILLIS) {
            if let Some(step) = self.step(number) {
                step.trackers += 1;
                step.sessions += sessions;
                step.lag += lag;
            }
        }
        if let Some((Some(earlier), _)) = previous.map(|(report, at)| (report.totals.as_ref(), at))
        {
            self.spread(earlier, totals, from, to);
        }
    }

    /// The steps of the last 15 minutes before `now`, oldest first, and the number of the
    /// first one.
    #[must_use]
    pub fn window(&self, now: Timestamp) -> (i64, Vec<HistoryStep>) {
        let last = now.as_millis().div_euclid(STEP_MILLIS) - INCOMPLETE_STEPS;
        let first = last - STEPS as i64 + 1;
        let oldest = self.newest - self.steps.len() as i64 + 1;
        let step = |number: i64| {
            let at = usize::try_from(number - oldest).ok()?;
            self.steps.get(at).cloned()
        };
        let steps = (first..=last).map(|number| step(number).unwrap_or_default());
        (first, steps.collect())
    }

    /// A quantile of the lateness of the timeouts in `steps`, in seconds, interpolated within
    /// its bucket; `None` without timeouts.
    #[must_use]
    pub fn lateness(&self, steps: &[HistoryStep], quantile: f64) -> Option<f64> {
        let mut counts = vec![0.0; self.bounds.len()];
        for step in steps {
            for (sum, count) in counts.iter_mut().zip(&step.lateness) {
                *sum += count;
            }
        }
        let total: f64 = counts.iter().sum();
        if total < 0.5 {
            return None;
        }
        let (mut below, mut lower) = (0.0, 0.0);
        for (count, bound) in counts.iter().zip(&self.bounds) {
            if *count > 0.0 && below + count >= total * quantile {
                return Some(lower + (bound - lower) * (total * quantile - below) / count);
            }
            (below, lower) = (below + count, *bound);
        }
        self.bounds.last().copied()
    }

    /// Spreads the counts between two reports over the steps between them.
    fn spread(&mut self, earlier: &Totals, later: &Totals, from: i64, to: i64) {
        let length = to - from;
        if length <= 0 {
            return;
        }
        self.bounds = later.lateness.iter().map(|bucket| bucket.le).collect();
        let counts = counts_between(earlier, later);
        for number in from.div_euclid(STEP_MILLIS)..=(to - 1).div_euclid(STEP_MILLIS) {
            let start = number * STEP_MILLIS;
            let overlap = (start + STEP_MILLIS).min(to) - start.max(from);
            let share = overlap as f64 / length as f64;
            if let Some(step) = self.step(number) {
                step.add(&counts, share);
            }
        }
    }

    /// The step with this number; `None` if it is too old.
    fn step(&mut self, number: i64) -> Option<&mut HistoryStep> {
        if self.steps.is_empty() || number - self.newest > STEPS as i64 {
            self.steps.clear();
            self.newest = number - 1;
        }
        while self.newest < number {
            self.newest += 1;
            self.steps.push_back(HistoryStep::default());
            if self.steps.len() > MAX_STEPS {
                self.steps.pop_front();
            }
        }
        let oldest = self.newest - self.steps.len() as i64 + 1;
        if number < oldest && self.steps.len() < STEPS {
            for _ in number..oldest {
                self.steps.push_front(HistoryStep::default());
            }
        }
        let oldest = self.newest - self.steps.len() as i64 + 1;
        let at = usize::try_from(number - oldest).ok()?;
        self.steps.get_mut(at)
    }
}

impl HistoryStep {
    fn add(&mut self, counts: &Self, share: f64) {
        self.events += counts.events * share;
        self.rebalances += counts.rebalances * share;
        for (sum, count) in self.endings.iter_mut().zip(counts.endings) {
            *sum += count * share;
        }
        self.lateness.resize(counts.lateness.len(), 0.0);
        for (sum, count) in self.lateness.iter_mut().zip(&counts.lateness) {
            *sum += count * share;
        }
    }
}

/// Unread records of all partitions of a process.
#[must_use]
pub fn report_lag(report: &ProcessReport) -> u64 {
    let behind = report.assignments.iter().filter_map(|one| {
        let behind = one.end? - one.position?;
        u64::try_from(behind).ok()
    });
    behind.sum()
}

/// The counts between two reports of a process.
fn counts_between(earlier: &Totals, later: &Totals) -> HistoryStep {
    let since = |later: u64, earlier: u64| to_f64(later.saturating_sub(earlier));
    let ended = |totals: &Totals, reason: EndReason| {
        let count = totals.endings.get(reason.as_str());
        count.copied().unwrap_or_default()
    };
    let endings = EndReason::ALL.map(|reason| since(ended(later, reason), ended(earlier, reason)));
    let mut lateness = Vec::with_capacity(later.lateness.len());
    let mut below = 0.0;
    for (at, bucket) in later.lateness.iter().enumerate() {
        let before = earlier.lateness.get(at).map_or(0, |bucket| bucket.count);
        let up_to = since(bucket.count, before);
        lateness.push((up_to - below).max(0.0));
        below = up_to;
    }
    HistoryStep {
        events: since(later.events, earlier.events),
        endings,
        lateness,
        rebalances: since(later.rebalances, earlier.rebalances),
        ..HistoryStep::default()
    }
}

#[expect(clippy::cast_precision_loss, reason = "for charts")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(events: u64, sessions: u64, late: [u64; 2]) -> ProcessReport {
        serde_json::from_value(json!({
            "v": 1, "id": "t", "role": "tracker", "version": "0", "host": "h", "pid": 1,
            "started_at": "", "reported_at": "", "state": "running", "not_ready": {},
            "assignments": [{
                "topic": "session_logs", "partition": 0, "restoring": false, "position": 7,
                "end": 10, "watermark": null, "sessions": sessions,
            }],
            "totals": {
                "events": events, "endings": {"idle_timeout": events / 10},
                "lateness": [{"le": 1.0, "count": late[0]}, {"le": 2.0, "count": late[1]}],
            },
        }))
        .unwrap()
    }

    fn at(seconds: f64) -> Timestamp {
        #[expect(clippy::cast_possible_truncation, reason = "small")]
        Timestamp::from_millis((seconds * 1_000.0) as i64)
    }

    #[test]
    fn counts_between_reports_are_spread_over_the_steps_between_them() {
        let mut history = History::default();
        let (first, second) = (report(100, 5, [0, 0]), report(160, 6, [30, 40]));
        history.record(None, &first, at(3_001.0));
        // Six seconds: a third of a step before, a whole one, two thirds after.
        history.record(Some((&first, at(3_001.0))), &second, at(3_007.0));
        let (_, steps) = history.window(at(3_015.0));
        let recent: Vec<_> = steps[steps.len() - 4..].iter().collect();
        let events: Vec<_> = recent.iter().map(|step| step.events.round()).collect();
        assert_eq!(events, [20.0, 30.0, 10.0, 0.0]);
        let gauges: Vec<_> = recent
            .iter()
            .map(|step| (step.sessions, step.lag))
            .collect();
        assert_eq!(gauges, [(5.0, 3.0), (6.0, 3.0), (6.0, 3.0), (0.0, 0.0)]);
        let endings: f64 = steps.iter().map(|step| step.endings[0]).sum();
        assert_eq!(endings.round(), 6.0);
        // Three of four within the first second.
        assert_eq!(history.lateness(&steps, 0.75), Some(1.0));
        assert_eq!(history.lateness(&steps, 1.0), Some(2.0));
        assert_eq!(history.lateness(&steps[..10], 0.5), None);
    }

    #[test]
    fn old_steps_are_dropped_and_late_reports_do_not_change_the_window() {
        let mut history = History::default();
        let mut previous = (report(0, 1, [0, 0]), at(0.0));
        for number in 1..2_000_u32 {
            let now = at(f64::from(number) * 3.0);
            let next = report(u64::from(number) * 3, 1, [0, 0]);
            history.record(Some((&previous.0, previous.1)), &next, now);
            previous = (next, now);
        }
        let (_, steps) = history.window(previous.1);
        assert_eq!(steps.len(), STEPS);
        assert!(steps.iter().all(|step| (step.events - 3.0).abs() < 1e-6));
        assert!(history.steps.len() <= STEPS + 4);
        let old = report(9_000_000, 1, [0, 0]);
        history.record(Some((&previous.0, at(1.0))), &old, at(4.0));
        assert_eq!(history.window(previous.1).1, steps);
    }
}
