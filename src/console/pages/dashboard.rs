//! The dashboard: problems, key figures and charts.

use askama::Template;
use serde::Serialize;

use super::menu::{DASHBOARD, HEALTH, PROCESSES, PageInfo};
use super::{NoParams, Page};
use crate::console::chart::{Chart, ChartKind, Series};
use crate::console::format;
use crate::console::live::LiveState;
use crate::console::live::history::{History, HistoryStep, STEP_MILLIS, report_lag};
use crate::console::live::processes::{Process, ProcessStatus};
use crate::console::state::AppState;
use crate::policy::pauses::PausableRole;
use crate::session::{EndReason, Timestamp};

const STEPS_PER_MINUTE: usize = 20;
const _: () = assert!(STEP_MILLIS * 20 == 60_000);
/// Charts show a multiple of this: their time axis has three parts, of whole minutes.
const CHART_STEPS: usize = 3 * STEPS_PER_MINUTE;
/// Steps over which the chart of lateness is smoothed.
const LATENESS_WINDOW: usize = 5;

#[derive(Template, Serialize)]
#[template(path = "console/dashboard.html")]
pub struct DashboardPage {
    /// The error of the latest request to the brokers, if it failed.
    kafka_error: Option<String>,
    /// Problems that need attention.
    notices: Vec<Notice>,
    live_sessions: usize,
    /// Rate of session events read during the last minute.
    events_per_second: f64,
    /// Sessions ended during the last minute.
    endings_last_minute: f64,
    /// 99th percentile of the lateness of timeouts during the last minute, in seconds.
    lateness_p99_seconds: Option<f64>,
    /// Session events not read yet, as reported by the trackers.
    tracker_lag: u64,
    /// Terminal events not processed yet, as reported by the brokers.
    handler_lag: Option<i64>,
    trackers_ready: usize,
    /// Live trackers, ready or not.
    trackers: usize,
    /// Partitions of session events with a tracker.
    partitions_owned: usize,
    /// All partitions of session events.
    partitions: usize,
    /// Charts of up to the last 15 minutes.
    charts: Vec<Chart>,
}

/// A problem that needs attention.
#[derive(Debug, Serialize)]
pub struct Notice {
    severity: &'static str,
    text: String,
    link: &'static str,
}

impl Page for DashboardPage {
    type Params = NoParams;
    const INFO: PageInfo = DASHBOARD;

    fn build(_: &AppState, state: &LiveState, now: Timestamp, _: &NoParams) -> Self {
        let (first, steps) = state.history.window(now);
        let trackers: Vec<_> = state.processes.trackers(now).collect();
        let ready = trackers
            .iter()
            .filter(|process| process.status(now) == ProcessStatus::Running)
            .count();
        let assignments = || {
            trackers
                .iter()
                .flat_map(|process| &process.report.assignments)
        };
        let minute = &steps[steps.len() - STEPS_PER_MINUTE..];
        let partitions = state
            .group_lags
            .first()
            .map_or(0, |lag| lag.partitions.len());
        Self {
            kafka_error: state.kafka_error.clone(),
            notices: notices(state, &trackers, now),
            live_sessions: assignments().map(|one| one.sessions).sum(),
            events_per_second: minute.iter().map(|step| step.events).sum::<f64>() / 60.0,
            endings_last_minute: minute
                .iter()
                .flat_map(|step| step.endings)
                .sum::<f64>()
                .round(),
            lateness_p99_seconds: state.history.lateness(minute, 0.99),
            tracker_lag: trackers
                .iter()
                .map(|process| report_lag(&process.report))
                .sum(),
            handler_lag: state.group_lags.get(1).map(|lag| lag.uncommitted()),
            trackers_ready: ready,
            trackers: trackers.len(),
            partitions_owned: assignments().count(),
            partitions,
            charts: {
                let skipped = steps.len() - shown(&steps);
                charts(&state.history, first + skipped as i64, &steps[skipped..])
            },
        }
    }
}

/// Returns how many of the latest steps charts show: those since the first report of a tracker, and some
/// more so that the axis has whole minutes.
fn shown(steps: &[HistoryStep]) -> usize {
    let reported = steps.iter().position(|step| step.trackers > 0);
    let reported = reported.map_or(0, |first| steps.len() - first);
    let rounded = reported.max(1).next_multiple_of(CHART_STEPS);
    rounded.min(steps.len())
}

fn charts(history: &History, first: i64, steps: &[HistoryStep]) -> Vec<Chart> {
    let per_second = 1_000.0 / STEP_MILLIS as f64;
    let series = |name, value: &dyn Fn(&HistoryStep) -> f64| Series {
        name,
        values: steps
            .iter()
            .map(|step| (step.trackers > 0).then(|| value(step)))
            .collect(),
    };
    let lateness = |name, quantile: f64| Series {
        name,
        values: (1..=steps.len())
            .map(|end| history.lateness(&steps[end.saturating_sub(LATENESS_WINDOW)..end], quantile))
            .collect(),
    };
    let endings = EndReason::ALL.iter().enumerate().map(|(at, reason)| {
        series(reason.as_str(), &|step: &HistoryStep| {
            step.endings[at] * per_second
        })
    });
    let chart = |labels, kind, series| Chart::new(labels, kind, first, series);
    vec![
        chart(
            ("events", "Session events", "events/s"),
            ChartKind::Lines,
            vec![series("read", &|step| step.events * per_second)],
        ),
        chart(
            ("sessions", "Live sessions", "sessions"),
            ChartKind::Lines,
            vec![series("live", &|step| step.sessions)],
        ),
        chart(
            ("endings", "Sessions ended by reason", "sessions/s"),
            ChartKind::Stacked,
            endings.collect(),
        ),
        chart(
            ("lateness", "Lateness beyond --allowed-lateness", "s"),
            ChartKind::Lines,
            vec![lateness("median", 0.5), lateness("99th percentile", 0.99)],
        ),
        chart(
            ("lag", "Tracker lag", "events"),
            ChartKind::Lines,
            vec![series("unread", &|step| step.lag)],
        ),
        chart(
            ("rebalances", "Rebalances", "per minute"),
            ChartKind::Stacked,
            vec![series("rebalances", &|step| {
                step.rebalances * 60.0 * per_second
            })],
        ),
    ]
}

fn notices(state: &LiveState, trackers: &[&Process], now: Timestamp) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut add = |severity, text, link| {
        notices.push(Notice {
            severity,
            text,
            link,
        });
    };
    if trackers.is_empty() {
        let text = "No tracker is running, so no session ends; start one with sundown tracker";
        add("bad", text.to_owned(), PROCESSES.path);
    }
    for process in state.processes.iter() {
        let (id, report) = (&process.report.id, &process.report);
        match process.status(now) {
            ProcessStatus::Gone => {
                let ago = format::span(now.since(process.reported_at).as_millis());
                add(
                    "bad",
                    format!("{id} has not reported for {ago}"),
                    PROCESSES.path,
                );
            }
            ProcessStatus::NotReady => {
                let reasons = report.not_ready.iter();
                let reasons = reasons.map(|(name, reason)| format!("{name}: {reason}"));
                let reasons = reasons.collect::<Vec<_>>().join("; ");
                add(
                    "warn",
                    format!("{id} is not ready: {reasons}"),
                    PROCESSES.path,
                );
            }
            ProcessStatus::Running | ProcessStatus::Stopped => {}
        }
    }
    for (role, effect) in [
        (PausableRole::Tracker, "their sessions do not end"),
        (
            PausableRole::Handler,
            "their terminal events are not handled",
        ),
    ] {
        let paused = state.policies.pauses().of(role);
        if !paused.is_empty() {
            let numbers = format::ranges(paused.into_iter().collect());
            let text = format!("{} partitions paused: {numbers}; {effect}", role.as_str());
            add("warn", text, "/health#pauses");
        }
    }
    if let Some(lag) = state.group_lags.first() {
        let owned = trackers
            .iter()
            .flat_map(|one| &one.report.assignments)
            .count();
        let all = lag.partitions.len();
        if !trackers.is_empty() && owned < all {
            let text = format!("{} of {all} partitions have no tracker", all - owned);
            add("warn", text, HEALTH.path);
        }
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_show_the_whole_minutes_since_the_first_report() {
        let steps = |reported: usize| {
            let mut steps = vec![HistoryStep::default(); 300];
            for step in steps.iter_mut().rev().take(reported) {
                step.trackers = 1;
            }
            steps
        };
        for (reported, expected) in [(0, 60), (1, 60), (60, 60), (61, 120), (290, 300)] {
            assert_eq!(shown(&steps(reported)), expected, "{reported}");
        }
        let mut outage = steps(1);
        outage[100].trackers = 1;
        assert_eq!(shown(&outage), 240);
    }
}
