//! A partition that receives most of the events: lateness of its sessions and of the others.
//!
//!     cargo bench --bench hot                                 20,000 events a second
//!     cargo bench --bench hot -- --rate 5000 --seconds 60
//!
//! As many sessions start each second as end, each with one event: spread evenly, then 90 %
//! of them on one partition, then the same with a flood of further activity there, as fast as
//! it can be written. How late endings are, as in the benchmark `lateness`, of that partition
//! and of the others. Brings up its own Kafka (`tests/kafka/kafka`), or uses
//! SUNDOWN_TEST_BOOTSTRAP; all processes share one clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark measures time, prints, and panics when it cannot go on"
)]
#![allow(missing_docs, dead_code, unreachable_pub, reason = "not a library")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use chrono::DateTime;
use serde::Deserialize;
use sundown::wire::partitioner::murmur2_partition;

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::drained::Watch;
use measure::endings::{Endings, quantile_ms};
use measure::flags::flag;
use measure::load::{Flood, Load};
use measure::usage::cpu_seconds;
use measure::{await_restored, start_tracker, stop};
use support::installation::Installation;
use support::kafka::Kafka;

const PARTITIONS: u64 = 8;
/// The one that gets most.
const HOT: i32 = 0;
const IDLE_TIMEOUT: &str = "10s";
/// The tracker's default.
const ALLOWED_LATENESS: Duration = Duration::from_secs(5);
/// From a session's start until it is due, and some time to get going.
const WARM_UP: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
struct Ending<'a> {
    ended_at: &'a str,
}

/// How late endings were that fell due in some time.
#[derive(Default)]
struct Lateness {
    from: Option<SystemTime>,
    hot: Vec<Duration>,
    others: Vec<Duration>,
}

fn main() {
    let (rate, seconds) = (flag("--rate", 20_000), flag("--seconds", 30));
    let installation = Installation::without_topics(Kafka::shared(), "hot", PARTITIONS);
    installation.create_topics();
    installation.apply_policy(IDLE_TIMEOUT);
    let tracker = start_tracker(&installation, &[]);
    await_restored(&tracker, PARTITIONS);

    let lateness = Arc::new(Mutex::new(Lateness::default()));
    let seen = Arc::clone(&lateness);
    let reader = Endings::follow(&installation, PARTITIONS, move |key, value| {
        seen.lock().unwrap().add(key, value);
    });
    println!("| load | partition | endings | p50 ms | p99 ms | max ms |");
    println!("|---|---|---|---|---|---|");
    for (name, hot_percent, flooded) in [
        ("even", 0, false),
        ("90 % on one", 90, false),
        ("90 % on one, with additional activity", 90, true),
    ] {
        let (cpu, begun) = (cpu_seconds(tracker.id()), Instant::now());
        let load = Load::start(&installation, PARTITIONS, HOT, rate, hot_percent);
        let flood = flooded.then(|| Flood::start(&installation, PARTITIONS, HOT));
        std::thread::sleep(WARM_UP);
        lateness.lock().unwrap().from = Some(SystemTime::now());
        std::thread::sleep(Duration::from_secs(seconds));
        let counted = std::mem::take(&mut *lateness.lock().unwrap());
        let written = load.stop();
        let behind = Instant::now();
        let flood = flood.map_or(0, Flood::stop);
        let group = "sundown-tracker";
        Watch::new(&installation, group, PARTITIONS).await_drained();
        counted.print(name);
        let took = begun.elapsed().as_secs_f64();
        eprintln!(
            "{name}: {:.0} events/s and {:.0} in the flood, {:.2} cores, drained {:.2} s after the end",
            written as f64 / took,
            flood as f64 / took,
            (cpu_seconds(tracker.id()) - cpu) / took,
            behind.elapsed().as_secs_f64(),
        );
        // All of them end before the next load begins.
        std::thread::sleep(WARM_UP);
    }
    drop(reader);
    stop(tracker);
}

impl Lateness {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let now = SystemTime::now();
        let ending: Ending<'_> = serde_json::from_slice(value).unwrap();
        let ended_at = DateTime::parse_from_rfc3339(ending.ended_at).unwrap();
        let due = SystemTime::from(ended_at) + ALLOWED_LATENESS;
        if self.from.is_some_and(|from| due > from) {
            // Never negative: nothing ends before it is due.
            let late = now.duration_since(due).unwrap();
            let partitions = i32::try_from(PARTITIONS).unwrap();
            if murmur2_partition(Some(key), partitions) == Some(HOT) {
                self.hot.push(late);
            } else {
                self.others.push(late);
            }
        }
    }

    fn print(self, load: &str) {
        for (partition, mut late) in [("the hot one", self.hot), ("the others", self.others)] {
            late.sort_unstable();
            let of = |share| quantile_ms(&late, share);
            println!(
                "| {load} | {partition} | {} | {} | {} | {} |",
                late.len(),
                of(0.5),
                of(0.99),
                of(1.0)
            );
        }
    }
}
