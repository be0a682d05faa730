//! Drains a topic alternately with the tracker, exactly-once, and with a bare consumer. With a
//! baseline, rounds should be even in number: the first of two trackers takes longer.
//!
//!     cargo bench --bench drain                       3 M events, 6 and 60 a session
//!     cargo bench --bench drain -- --events 500000 --rounds 1
//!     cargo bench --bench drain -- --baseline OLD     also with the tracker of another binary
//!
//! Brings up its own Kafka (`tests/kafka/kafka`), or uses SUNDOWN_TEST_BOOTSTRAP. Both
//! read the same topic on the same machine, so their ratio means something; the
//! figures by themselves depend on the machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a benchmark measures time, prints, and panics when it cannot go on"
)]
#![allow(missing_docs, dead_code, unreachable_pub, reason = "not a library")]

use std::time::Instant;

#[path = "../tests/support/mod.rs"]
mod support;

mod measure;

use measure::bare;
use measure::drained::Watch;
use measure::flags::{flag, text_flag};
use measure::usage::{cpu_seconds, memory_mib};
use measure::{STEP_TIMEOUT, await_restored, start_tracker, stop};
use support::installation::Installation;
use support::kafka::Kafka;

const PARTITIONS: u64 = 3;

/// What one drain took.
struct Drain {
    seconds: f64,
    cpu_seconds: f64,
    peak_mib: f64,
}

fn main() {
    let (events, rounds) = (flag("--events", 3_000_000), flag("--rounds", 3));
    let kafka = Kafka::shared();
    println!("{events} events, {PARTITIONS} partitions, {rounds} rounds, medians\n");
    println!("| events a session | reader | records/s | CPU µs a record | peak MiB | ratio |");
    println!("|---|---|---|---|---|---|");
    for per_session in [6, 60] {
        let installation =
            Installation::without_topics(kafka, &format!("drain-{per_session}"), PARTITIONS);
        fill(&installation, events, per_session);
        let baseline = text_flag("--baseline").map(|binary| installation.with_binary(&binary));
        let (mut bare, mut tracker, mut older) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            bare.push(drain_bare(&installation, events));
            let mut drain =
                || tracker.push(drain_tracker(&installation, &format!("round-{round}")));
            let Some(baseline) = &baseline else {
                drain();
                continue;
            };
            let drain_older = || drain_tracker(baseline, &format!("baseline-{round}"));
            // The brokers are not as quick for the one as for the other, so they take turns.
            if round % 2 == 0 {
                drain();
                older.push(drain_older());
            } else {
                older.push(drain_older());
                drain();
            }
        }
        let (bare, tracker) = (median(bare), median(tracker));
        let ratio = bare.seconds / tracker.seconds;
        row(per_session, "bare consumer", &bare, events, 1.0);
        row(
            per_session,
            "tracker, exactly-once",
            &tracker,
            events,
            ratio,
        );
        if baseline.is_some() {
            let older = median(older);
            let ratio = bare.seconds / older.seconds;
            row(
                per_session,
                "tracker of the baseline",
                &older,
                events,
                ratio,
            );
        }
    }
}

fn row(per_session: u64, reader: &str, drain: &Drain, events: u64, ratio: f64) {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let events = events as f64;
    println!(
        "| {per_session} | {reader} | {:.0} | {:.2} | {:.0} | {ratio:.2} |",
        events / drain.seconds,
        drain.cpu_seconds / events * 1e6,
        drain.peak_mib,
    );
}

/// The drain that was neither the quickest nor the slowest.
fn median(mut drains: Vec<Drain>) -> Drain {
    drains.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    drains.swap_remove(drains.len() / 2)
}

fn fill(installation: &Installation<'_>, events: u64, per_session: u64) {
    installation.create_topics();
    let (events, per_session) = (events.to_string(), per_session.to_string());
    installation.run_within(
        STEP_TIMEOUT,
        &[
            "produce",
            "--events",
            &events,
            "--events-per-session",
            &per_session,
            "--users",
            "50000",
            "--seed",
            "1",
        ],
    );
}

/// A poll loop that does nothing with the records, with the tracker's settings.
fn drain_bare(installation: &Installation<'_>, events: u64) -> Drain {
    let settings = [
        ("queued.max.messages.kbytes", "65536"),
        ("fetch.queue.backoff.ms", "10"),
    ];
    let read = bare::read(
        installation,
        ("session_logs", PARTITIONS),
        events,
        &settings,
    );
    Drain {
        seconds: read.seconds,
        cpu_seconds: read.cpu_seconds,
        peak_mib: memory_mib("self", "VmHWM"),
    }
}

/// From the moment the tracker may read until the last offset is committed.
fn drain_tracker(installation: &Installation<'_>, group: &str) -> Drain {
    // Each round starts from nothing.
    let checkpoint = format!("checkpoint-{group}");
    let partitions = PARTITIONS.to_string();
    let own = ["--checkpoint-topic", &checkpoint];
    installation.run_within(
        STEP_TIMEOUT,
        &[&["topics", "create", "--partitions", &partitions], &own[..]].concat(),
    );
    let tracker = start_tracker(installation, &[&["--group", group], &own[..]].concat());
    await_restored(&tracker, 1);
    let start = Instant::now();
    Watch::new(installation, group, PARTITIONS).await_drained();
    let seconds = start.elapsed().as_secs_f64();
    let drain = Drain {
        seconds,
        cpu_seconds: cpu_seconds(tracker.id()),
        peak_mib: memory_mib(tracker.id(), "VmHWM"),
    };
    stop(tracker);
    drain
}
