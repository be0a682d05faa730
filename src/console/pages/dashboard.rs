//! The dashboard: how it goes, at a glance.

use askama::Template;
use serde::{Deserialize, Serialize};

use super::View;
use crate::console::chart::{Chart, Kind, Series};
use crate::console::format;
use crate::console::live::State;
use crate::console::live::history::{History, STEP_MILLIS, Step, report_lag};
use crate::console::live::processes::{Process, ProcessStatus};
use crate::console::state::AppState;
use crate::policy::pauses::PausableRole;
use crate::session::{EndReason, Timestamp};

/// Steps in a minute.
const MINUTE: usize = 20;
const _: () = assert!(STEP_MILLIS * 20 == 60_000);
/// Steps over which lateness is taken together.
const SMOOTHED: usize = 5;

/// No questions.
#[derive(Clone, Debug, Deserialize)]
pub struct Nothing {}

/// The dashboard.
#[derive(Template, Serialize)]
#[template(path = "console/dashboard.html")]
pub struct Dashboard {
    /// Why the brokers do not answer, while they do not.
    trouble: Option<String>,
    /// What somebody should look at.
    notices: Vec<Notice>,
    /// Live sessions of all trackers.
    live_sessions: usize,
    /// Session events read per second, of the last minute.
    events_per_second: f64,
    /// Sessions ended within the last minute.
    endings_last_minute: f64,
    /// What 99 % of the timeouts of the last minute did not exceed, in seconds.
    lateness_p99_seconds: Option<f64>,
    /// Session events that no tracker has read yet, as the trackers see it.
    tracker_lag: u64,
    /// Terminal events that the handlers have not finished, as the brokers see it.
    handler_lag: Option<i64>,
    /// Trackers that are ready.
    trackers_ready: usize,
    /// Trackers that are there.
    trackers: usize,
    /// Partitions of session events that a tracker has.
    partitions_owned: usize,
    /// All of them.
    partitions: usize,
    /// What happened during the last quarter of an hour.
    charts: Vec<Chart>,
}

/// What somebody should look at.
#[derive(Debug, Serialize)]
pub struct Notice {
    severity: &'static str,
    text: String,
    link: &'static str,
}

impl View for Dashboard {
    type Query = Nothing;
    const TITLE: &'static str = "Dashboard";
    const PATH: &'static str = "/dashboard";

    fn build(_: &AppState, state: &State, now: Timestamp, _: &Nothing) -> Self {
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
        let minute = &steps[steps.len() - MINUTE..];
        let partitions = state.lags.first().map_or(0, |lag| lag.partitions.len());
        Self {
            trouble: state.trouble.clone(),
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
            handler_lag: state.lags.get(1).map(|lag| lag.uncommitted()),
            trackers_ready: ready,
            trackers: trackers.len(),
            partitions_owned: assignments().count(),
            partitions,
            charts: charts(&state.history, first, &steps),
        }
    }
}

fn charts(history: &History, first: i64, steps: &[Step]) -> Vec<Chart> {
    let per_second = 1_000.0 / STEP_MILLIS as f64;
    let series = |name, value: &dyn Fn(&Step) -> f64| Series {
        name,
        values: steps
            .iter()
            .map(|step| (step.trackers > 0).then(|| value(step)))
            .collect(),
    };
    let late = |name, share: f64| Series {
        name,
        values: (1..=steps.len())
            .map(|end| history.lateness(&steps[end.saturating_sub(SMOOTHED)..end], share))
            .collect(),
    };
    let endings = EndReason::ALL.iter().enumerate().map(|(at, reason)| {
        series(reason.as_str(), &|step: &Step| {
            step.endings[at] * per_second
        })
    });
    let chart = |about, kind, series| Chart::new(about, kind, first, series);
    vec![
        chart(
            ("events", "Session events", "events/s"),
            Kind::Lines,
            vec![series("read", &|step| step.events * per_second)],
        ),
        chart(
            ("sessions", "Live sessions", "sessions"),
            Kind::Lines,
            vec![series("live", &|step| step.sessions)],
        ),
        chart(
            ("endings", "Endings by reason", "endings/s"),
            Kind::Stacked,
            endings.collect(),
        ),
        chart(
            ("lateness", "Expiry lateness, beyond the allowed", "s"),
            Kind::Lines,
            vec![late("half within", 0.5), late("99 % within", 0.99)],
        ),
        chart(
            ("lag", "Tracker lag", "events"),
            Kind::Lines,
            vec![series("unread", &|step| step.lag)],
        ),
        chart(
            ("rebalances", "Rebalances", "per minute"),
            Kind::Stacked,
            vec![series("gave, took or lost partitions", &|step| {
                step.rebalances * 60.0 * per_second
            })],
        ),
    ]
}

fn notices(state: &State, trackers: &[&Process], now: Timestamp) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut note = |severity, text, link| {
        notices.push(Notice {
            severity,
            text,
            link,
        });
    };
    if trackers.is_empty() {
        let text = "No tracker is running, so no session ends: start one with sundown tracker";
        note("bad", text.to_owned(), "/consumers");
    }
    for process in state.processes.iter() {
        let (id, report) = (&process.report.id, &process.report);
        match process.status(now) {
            ProcessStatus::Gone => {
                let ago = format::span(now.since(process.seen).as_millis());
                note(
                    "bad",
                    format!("{id} has not reported for {ago}"),
                    "/consumers",
                );
            }
            ProcessStatus::NotReady => {
                let reasons = report.not_ready.iter();
                let reasons = reasons.map(|(name, reason)| format!("{name}: {reason}"));
                let reasons = reasons.collect::<Vec<_>>().join("; ");
                note(
                    "warn",
                    format!("{id} is not ready: {reasons}"),
                    "/consumers",
                );
            }
            ProcessStatus::Running | ProcessStatus::Stopped => {}
        }
    }
    for (role, what) in [
        (PausableRole::Tracker, "no session on them ends"),
        (
            PausableRole::Handler,
            "nothing is done about endings on them",
        ),
    ] {
        let paused = state.policies.pauses().of(role);
        if !paused.is_empty() {
            let numbers = format::ranges(paused.into_iter().collect());
            let text = format!("{} partitions paused: {numbers}; {what}", role.as_str());
            note("warn", text, "/health#pauses");
        }
    }
    if let Some(lag) = state.lags.first() {
        let owned = trackers
            .iter()
            .flat_map(|one| &one.report.assignments)
            .count();
        let all = lag.partitions.len();
        if !trackers.is_empty() && owned < all {
            let text = format!("{} of {all} partitions have no tracker", all - owned);
            note("warn", text, "/health");
        }
    }
    notices
}
