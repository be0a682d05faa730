//! Lateness of endings: from the deadline and the allowed lateness of a session until readers of
//! committed records can read its terminal event.
//!
//!     cargo bench --bench lateness                            10,000 endings a second
//!     cargo bench --bench lateness -- --rate 1000 --seconds 30
//!     cargo bench --bench lateness -- --commit-interval-ms 100
//!     cargo bench --bench lateness -- --ingest                the events come from a source topic
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

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use serde::Deserialize;
use tempfile::NamedTempFile;

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::endings::{Endings, quantile_ms};
use measure::flags::{flag, has_flag};
use measure::usage::{cpu_seconds, memory_mib};
use measure::{STEP_TIMEOUT, await_restored, start_tracker, stop};
use support::installation::Installation;
use support::kafka::Kafka;
use support::process::Process;

const PARTITIONS: u64 = 3;
const IDLE_TIMEOUT: &str = "10s";
/// The tracker's default.
const ALLOWED_LATENESS: Duration = Duration::from_secs(5);
/// The source topic with `--ingest`: session events as the JSON of another application.
const SOURCE_TOPIC: &str = "clicks";
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
    let ingest = has_flag("--ingest").then(|| start_ingest(&installation));
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
    let (rate, events) = (rate.to_string(), events.to_string());
    let mut produce = vec!["produce", "--rate", &rate, "--events", &events];
    produce.extend(["--events-per-session", "1", "--users", "1000000"]);
    if ingest.is_some() {
        produce.extend(["--session-logs-topic", SOURCE_TOPIC]);
    }
    installation.run_within(STEP_TIMEOUT, &produce);
    // While the last sessions are idle, nothing but endings happens: not counted.
    drop(reader);
    let mut late = std::mem::take(&mut *seen.lock().unwrap());
    late.sort_unstable();
    let id = tracker.id();
    println!(
        "| commit interval | endings | p50 ms | p99 ms | max ms | CPU s of the tracker | peak MiB | CPU s of ingest |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    println!(
        "| {commit_interval} | {} | {} | {} | {} | {:.1} | {:.0} | {:.1} |",
        late.len(),
        quantile_ms(&late, 0.5),
        quantile_ms(&late, 0.99),
        quantile_ms(&late, 1.0),
        cpu_seconds(id),
        memory_mib(id, "VmHWM"),
        ingest
            .as_ref()
            .map_or(0.0, |ingest| cpu_seconds(ingest.id())),
    );
    stop(tracker);
    ingest.into_iter().for_each(stop);
}

/// Starts ingest with default settings on a source topic of its own.
fn start_ingest(installation: &Installation<'_>) -> Process {
    let topic = installation.topic(SOURCE_TOPIC);
    let partitions = i32::try_from(PARTITIONS).unwrap();
    installation.kafka.create_topic(&topic, partitions, &[]);
    let mut source = NamedTempFile::with_suffix(".yaml").unwrap();
    let text = format!(
        "apiVersion: sundown.dev/v1alpha1
kind: SessionSource
metadata: {{name: clicks}}
spec:
  topics: [{topic}]
  session: {{id: value.session_id, user: value.user_id, time: value.activity_timestamp}}
"
    );
    source.write_all(text.as_bytes()).unwrap();
    let path = source.path().to_str().unwrap();
    let launch = installation.sundown(&["ingest", "--sources", path]);
    let ingest = launch.print_warnings().start();
    // It has read the file by then.
    ingest.wait_for_lines(STEP_TIMEOUT, 1, "\"assigned\"");
    ingest
}
