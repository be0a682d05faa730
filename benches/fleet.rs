//! Several trackers that share many partitions: rebalances, and a policy edit that ends all
//! sessions.
//!
//!     cargo bench --bench fleet                               1 M sessions, 256 partitions, 4 trackers
//!     cargo bench --bench fleet -- --trackers 2 --partitions 64
//!
//! Brings up its own Kafka (`tests/kafka/kafka`), or uses SUNDOWN_TEST_BOOTSTRAP.
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

use std::time::{Duration, Instant};

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::endings::Endings;
use measure::flags::flag;
use measure::logouts::{Logouts, Seen};
use measure::mass::row;
use measure::tracker_group::TrackerGroup;
use support::installation::Installation;
use support::kafka::Kafka;

/// How long trackers are watched that have nothing to do.
const IDLE: Duration = Duration::from_secs(10);

fn main() {
    let (sessions, partitions) = (flag("--sessions", 1_000_000), flag("--partitions", 256));
    let trackers = flag("--trackers", 4);
    let installation = Installation::without_topics(Kafka::shared(), "fleet", partitions);
    println!("{sessions} sessions, {partitions} partitions, {trackers} trackers\n");
    println!("| measurement | figure |");
    println!("|---|---|");
    installation.create_topics();
    installation.apply_policy("12h");
    let mut group = TrackerGroup::new(&installation, partitions);
    group.join();
    group.await_balanced();
    measure::mass::start_all(&installation, sessions, partitions);
    (1..trackers).for_each(|_| group.join());
    group.await_balanced();
    rebalance(
        &mut group,
        "one leaves",
        partitions,
        &installation,
        |group| group.leave(),
    );
    rebalance(
        &mut group,
        "one joins",
        partitions,
        &installation,
        |group| group.join(),
    );
    idle(&group);
    measure::mass::end_all(
        &installation,
        sessions,
        partitions,
        measure::mass::Trigger::PolicyEdit,
    );
    row(
        "peak memory of each",
        &format!("{:.0?} MiB", group.peak_mib()),
    );
}

/// Has one tracker come or go, while sessions are logged out on all partitions.
fn rebalance(
    group: &mut TrackerGroup<'_>,
    what: &str,
    partitions: u64,
    installation: &Installation<'_>,
    change: fn(&mut TrackerGroup<'_>),
) {
    let seen = Seen::default();
    let ended = seen.clone();
    let reader = Endings::follow(installation, partitions, move |key, _| {
        ended.ended(key);
    });
    let logouts = Logouts::start(installation, seen);
    let begun = Instant::now();
    change(group);
    group.await_balanced();
    let balanced = begun.elapsed().as_secs_f64();
    row(
        &format!("{what}: until all partitions are live and evenly distributed"),
        &format!("{balanced:.2} s"),
    );
    row(
        &format!("{what}: from a logout to its ending readable meanwhile, p50 / p99 / max"),
        &logouts.finish(),
    );
    drop(reader);
}

/// Live sessions that nothing happens to must cost nothing.
fn idle(group: &TrackerGroup<'_>) {
    let before = group.cpu_seconds();
    std::thread::sleep(IDLE);
    let after = group.cpu_seconds();
    let used = after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before);
    let shares: Vec<f64> = used.map(|used| used / IDLE.as_secs_f64() * 100.0).collect();
    row(
        "CPU of a core with all sessions idle, each tracker",
        &format!("{shares:.1?} %"),
    );
}
