//! Lateness of endings: from the deadline and the allowed lateness of a session until readers of
//! committed records can read its terminal event.
//!
//!     cargo bench --bench lateness                            10,000 endings a second
//!     cargo bench --bench lateness -- --rate 1000 --seconds 30
//!     cargo bench --bench lateness -- --commit-interval-ms 100
//!
//! As many sessions start each second as end; each has one event. The tracker is caught
//! up all the while. Brings up its own Kafka (`tests/kafka/kafka`), or uses
//! SUNDOWN_TEST_BOOTSTRAP; all processes share one clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark measures time, prints, and panics when it cannot go on"
)]
#![allow(missing_docs, dead_code, unreachable_pub, reason = "not a library")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use serde::Deserialize;

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::endings::{Endings, quantile};
use measure::flags::flag;
use measure::usage::{cpu_seconds, memory_mib};
use measure::{STEP_TIMEOUT, await_restored, start_tracker, stop};
use support::installation::Installation;
use support::kafka::Kafka;

const PARTITIONS: u64 = 3;
const IDLE_TIMEOUT: &str = "10s";
/// The tracker's default.
const ALLOWED_LATENESS: Duration = Duration::from_secs(5);
/// Endings of the first seconds are left out: the tracker may not have caught up yet.
const WARM_UP: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Ending<'a> {
    ended_at: &'a str,
}

fn main() {
    let (rate, seconds) = (flag("--rate", 10_000), flag("--seconds", 60));
    let commit_interval = format!("{}ms", flag("--commit-interval-ms", 500));
    let installation = Installation::without_topics(Kafka::shared(), "lateness", PARTITIONS);
    installation.create_topics();
    installation.apply_policy(IDLE_TIMEOUT);
    let tracker = start_tracker(&installation, &["--commit-interval", &commit_interval]);
    await_restored(&tracker, PARTITIONS);

    let counted_from = SystemTime::now() + Duration::from_secs(15) + WARM_UP;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let late = Arc::clone(&seen);
    let reader = Endings::follow(&installation, PARTITIONS, move |_, value| {
        let now = SystemTime::now();
        let ending: Ending<'_> = serde_json::from_slice(value).unwrap();
        let ended_at = DateTime::parse_from_rfc3339(ending.ended_at).unwrap();
        let due = SystemTime::from(ended_at) + ALLOWED_LATENESS;
        if due > counted_from {
            // Never negative: nothing ends before it is due.
            late.lock().unwrap().push(now.duration_since(due).unwrap());
        }
    });
    let events = rate * (seconds + WARM_UP.as_secs());
    installation.run_within(
        STEP_TIMEOUT,
        &[
            "produce",
            "--rate",
            &rate.to_string(),
            "--events",
            &events.to_string(),
            "--events-per-session",
            "1",
            "--users",
            "1000000",
        ],
    );
    // While the last sessions are idle, nothing but endings happens: not counted.
    drop(reader);
    let mut late = std::mem::take(&mut *seen.lock().unwrap());
    late.sort_unstable();
    let id = tracker.id();
    println!(
        "| commit interval | endings | p50 ms | p99 ms | max ms | CPU s of the tracker | peak MiB |"
    );
    println!("|---|---|---|---|---|---|---|");
    println!(
        "| {commit_interval} | {} | {} | {} | {} | {:.1} | {:.0} |",
        late.len(),
        quantile(&late, 0.5).as_millis(),
        quantile(&late, 0.99).as_millis(),
        quantile(&late, 1.0).as_millis(),
        cpu_seconds(id),
        memory_mib(id, "VmHWM"),
    );
    stop(tracker);
}
