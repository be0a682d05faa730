//! Starts many sessions, and ends all of them at once.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::STEP_TIMEOUT;
use super::drained::Watch;
use super::endings::{Count, Endings};
use super::logouts::{Logouts, Seen};
use crate::support::installation::Installation;

/// Without progress for so long, something has stopped.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(120);

/// A row of the table that benchmarks of many sessions print.
pub fn row(what: &str, figure: &str) {
    println!("| {what} | {figure} |");
}

/// Starts the sessions, each with one event, and waits until trackers have committed that.
pub fn start_all(installation: &Installation<'_>, sessions: u64, partitions: u64) {
    let begun = Instant::now();
    let count = sessions.to_string();
    installation.run_within(
        STEP_TIMEOUT,
        &[
            "produce",
            "--events",
            &count,
            "--events-per-session",
            "1",
            "--users",
            "1000000",
        ],
    );
    Watch::new(installation, "sundown-tracker", partitions).await_drained();
    let rate = sessions as f64 / begun.elapsed().as_secs_f64();
    row(
        "sessions started a second, while they are produced",
        &format!("{rate:.0}"),
    );
}

/// What ends all sessions at once.
#[derive(Clone, Copy)]
pub enum Trigger {
    /// A timeout after which all of them are due.
    PolicyEdit,
    Revocation,
}

impl Trigger {
    fn name(self) -> &'static str {
        match self {
            Self::PolicyEdit => "policy edit",
            Self::Revocation => "revocation",
        }
    }

    fn pull(self, installation: &Installation<'_>) {
        match self {
            Self::PolicyEdit => installation.apply_policy("1s"),
            Self::Revocation => installation.run(&["revoke", "--all", "--yes"]),
        }
    }
}

/// Ends all sessions, and meanwhile logs others out.
pub fn end_all(installation: &Installation<'_>, sessions: u64, partitions: u64, trigger: Trigger) {
    let (endings, first) = (Count::default(), Arc::new(Mutex::new(None::<Instant>)));
    let seen = Seen::default();
    let reader = {
        let (endings, first) = (endings.clone(), Arc::clone(&first));
        let seen = seen.clone();
        Endings::follow(installation, partitions, move |key, _| {
            if !seen.ended(key) {
                first.lock().unwrap().get_or_insert_with(Instant::now);
                endings.add_one();
            }
        })
    };
    let logouts = Logouts::start(installation, seen);
    let begun = Instant::now();
    trigger.pull(installation);
    let applied = Instant::now();
    let ended = endings.await_at_least(sessions, PROGRESS_TIMEOUT);
    let waits = logouts.finish();
    drop(reader);
    let first = first.lock().unwrap().expect("there were endings");
    let command = (applied - begun).as_secs_f64();
    let effect = first.saturating_duration_since(applied).as_secs_f64();
    row(
        &format!("{}: the command itself", trigger.name()),
        &format!("{command:.2} s"),
    );
    row(
        &format!(
            "{}: from there to the first ending readable",
            trigger.name()
        ),
        &format!("{effect:.2} s"),
    );
    let rate = sessions as f64 / (ended - first).as_secs_f64();
    row("endings readable a second", &format!("{rate:.0}"));
    row(
        "meanwhile, from a logout to its ending readable: p50 / p99 / max",
        &waits,
    );
}
