//! The code of the tracker on a simulated Kafka, in simulated time, under all faults at once. One
//! seed determines a run; `docs/explanation/testing.md` describes how to replay one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed test panics with what it observed"
)]

mod applications;
mod brokers;
mod cluster;
mod consumer;
mod end_offsets;
mod facts;
mod group;
mod ingest;
mod io;
mod log;
#[allow(dead_code, reason = "applications write no events by attributes")]
#[path = "../../crates/session/tests/order/model.rs"]
mod model;
mod oracle;
mod orderly;
mod producer;
mod restore_log;
mod rules;
mod schedule;
mod shrink;
mod state;
mod upstream;
mod users;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use schedule::{INGEST_SEEDS, Plan};
use world::{Report, run};

/// How many seeds are tried unless `SUNDOWN_SIM_SEEDS` says otherwise.
const SEEDS: u64 = 2_000;

#[test]
fn under_faults_every_session_ends_once_and_no_active_session_does() {
    if let Some(seed) = number("SUNDOWN_SIM_SEED") {
        return replay(seed);
    }
    let count = number("SUNDOWN_SIM_SEEDS").unwrap_or(SEEDS);
    all_is_well(0, count);
}

#[test]
fn with_ingest_before_the_trackers_no_active_session_ends_either() {
    if number("SUNDOWN_SIM_SEED").is_some() {
        // The other test replays it.
        return;
    }
    let count = number("SUNDOWN_SIM_SEEDS").unwrap_or(SEEDS).div_ceil(4);
    all_is_well(INGEST_SEEDS, count);
}

/// Tries `count` seeds from `first` on.
fn all_is_well(first: u64, count: u64) {
    if let Some(seed) = first_failure(first, count) {
        replay(seed);
        panic!("seed {seed} failed, and then it did not: something is not determined by the seed");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in (0..20).chain(INGEST_SEEDS..INGEST_SEEDS + 10) {
        let plan = Plan::new(seed);
        let (one, other) = (simulate(&plan, true), simulate(&plan, true));
        assert!(!one.trace.is_empty());
        assert!(one.trace == other.trace, "seed {seed}");
    }
}

/// The smallest failing seed found; all processors look.
fn first_failure(first: u64, count: u64) -> Option<u64> {
    let next = AtomicU64::new(first);
    let failed = AtomicU64::new(u64::MAX);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count || failed.load(Ordering::Relaxed) < u64::MAX {
                return;
            }
            if simulate(&Plan::new(seed), false).violation.is_some() {
                failed.fetch_min(seed, Ordering::Relaxed);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    Some(failed.into_inner()).filter(|seed| *seed < u64::MAX)
}

/// Prints all steps of a seed, after shrinking it if it fails.
fn replay(seed: u64) {
    let plan = Plan::new(seed);
    let Some(violation) = simulate(&plan, false).violation else {
        let report = simulate(&plan, true);
        report.trace.iter().for_each(|line| eprintln!("{line}"));
        eprintln!("seed {seed}: all is well");
        return;
    };
    let kind = kind_of(&violation).to_owned();
    let same = |plan: &Plan| {
        let violation = simulate(plan, false).violation;
        violation.is_some_and(|violation| kind_of(&violation) == kind)
    };
    let short = shrink::shrink(&plan, same);
    let report = simulate(&short, true);
    report.trace.iter().for_each(|line| eprintln!("{line}"));
    eprintln!("{:?}", short.settings);
    panic!(
        "seed {seed}: {violation}\n\nwith {} of its {} steps: {}\n\nreplay with:\n  \
         SUNDOWN_SIM_SEED={seed} cargo test --test simulation -- --nocapture\n",
        short.steps.len(),
        plan.steps.len(),
        report.violation.unwrap_or_default(),
    );
}

/// What was violated, without whom it happened to.
fn kind_of(violation: &str) -> &str {
    violation.split(['{', ':', '(']).next().unwrap_or_default()
}

fn simulate(plan: &Plan, traced: bool) -> Report {
    catch_unwind(AssertUnwindSafe(|| run(plan, traced))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Report {
            violation: Some(format!("panic: {}", text.unwrap_or_default())),
            trace: Vec::new(),
        }
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
