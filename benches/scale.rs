//! What many live sessions cost: memory, restart, a policy edit that ends all of them.
//!
//!     cargo bench --bench scale                                   1 M sessions
//!     cargo bench --bench scale -- --sessions 10000000
//!     cargo bench --bench scale -- --sessions 1000000 --partitions 256
//!
//! Brings up its own Kafka (`tests/kafka/kafka`), or uses SUNDOWN_TEST_BOOTSTRAP. 10 M
//! sessions need about 6 GB of disk for the broker.
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

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

#[path = "support/drained.rs"]
mod drained;
#[path = "support/endings.rs"]
mod endings;
#[path = "support/installation.rs"]
mod installation;
#[path = "support/kafka.rs"]
mod kafka;

use drained::Watch;
use endings::{Count, Endings, quantile};
use installation::{Installation, Process, cpu_seconds, flag, memory_mib};

/// Without progress for so long, something has stopped.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a tracker is watched that has nothing to do.
const IDLE: Duration = Duration::from_secs(10);
/// A session is logged out so often while the others end.
const LOGOUT_EVERY: Duration = Duration::from_millis(50);

fn main() {
    let (sessions, partitions) = (flag("--sessions", 1_000_000), flag("--partitions", 3));
    let installation = Installation::new(&kafka::bootstrap(), "scale");
    println!("{sessions} sessions, {partitions} partitions\n");
    println!("| what | figure |");
    println!("|---|---|");
    let tracker = fill(&installation, sessions, partitions);
    idle(&tracker);
    let tracker = restart(&installation, tracker, partitions);
    end_all(&installation, sessions, partitions);
    let id = tracker.id();
    row(
        "peak memory",
        &format!("{:.0} MiB", memory_mib(&id, "VmHWM")),
    );
    tracker.stop();
}

fn row(what: &str, figure: &str) {
    println!("| {what} | {figure} |");
}

/// Starts the sessions; a tracker that has them all and has committed that.
fn fill(installation: &Installation, sessions: u64, partitions: u64) -> Process {
    installation.create_topics(partitions);
    installation.apply_policy("12h");
    let tracker = installation.tracker(&[]);
    tracker.await_lines(partitions, "\"restored\"");
    let before = memory_mib(&tracker.id(), "VmRSS");
    let begun = Instant::now();
    let count = sessions.to_string();
    installation.run(&[
        "produce",
        "--events",
        &count,
        "--events-per-session",
        "1",
        "--users",
        "1000000",
    ]);
    Watch::new(installation, "sundown-tracker", partitions).await_drained();
    let rate = sessions as f64 / begun.elapsed().as_secs_f64();
    row(
        "sessions started a second, while they are produced",
        &format!("{rate:.0}"),
    );
    let grown = memory_mib(&tracker.id(), "VmRSS") - before;
    let bytes = grown * 1024.0 * 1024.0 / sessions as f64;
    row(
        "resident memory a session",
        &format!("{bytes:.0} B ({grown:.0} MiB)"),
    );
    tracker
}

/// Live sessions that nothing happens to must cost nothing.
fn idle(tracker: &Process) {
    let id = tracker.id();
    let before = cpu_seconds(&id);
    std::thread::sleep(IDLE);
    let share = (cpu_seconds(&id) - before) / IDLE.as_secs_f64() * 100.0;
    row(
        "CPU of a core with all sessions idle",
        &format!("{share:.1} %"),
    );
}

/// Stops the tracker and starts another, which has to restore every session.
fn restart(installation: &Installation, tracker: Process, partitions: u64) -> Process {
    tracker.stop();
    let begun = Instant::now();
    let tracker = installation.tracker(&[]);
    tracker.await_lines(1, "\"assigned\"");
    let assigned = Instant::now();
    tracker.await_lines(partitions, "\"restored\"");
    let restored = assigned.elapsed().as_secs_f64();
    row(
        "restore, from the assignment until all is live",
        &format!("{restored:.2} s"),
    );
    let cpu = cpu_seconds(&tracker.id());
    row("CPU that the restore took", &format!("{cpu:.2} s"));
    let restart = begun.elapsed().as_secs_f64();
    row(
        "restart, from the start of the process",
        &format!("{restart:.2} s"),
    );
    tracker
}

/// Shortens the timeout so that all sessions are due, and meanwhile logs others out.
fn end_all(installation: &Installation, sessions: u64, partitions: u64) {
    let (endings, first) = (Count::default(), Arc::new(Mutex::new(None::<Instant>)));
    let waits = Arc::new(Mutex::new(Vec::new()));
    let sent = Arc::new(Mutex::new(HashMap::<Vec<u8>, Instant>::new()));
    let reader = {
        let (endings, first) = (endings.clone(), Arc::clone(&first));
        let (waits, sent) = (Arc::clone(&waits), Arc::clone(&sent));
        Endings::follow(installation, partitions, move |key, _| {
            match sent.lock().unwrap().remove(key) {
                Some(at) => waits.lock().unwrap().push(at.elapsed()),
                None => {
                    first.lock().unwrap().get_or_insert_with(Instant::now);
                    endings.add_one();
                }
            }
        })
    };
    let done = Arc::new(AtomicBool::new(false));
    let others = {
        let (bootstrap, topic) = (
            installation.bootstrap.clone(),
            installation.topic("session_logs"),
        );
        let (done, sent) = (Arc::clone(&done), Arc::clone(&sent));
        std::thread::spawn(move || log_others_out(&bootstrap, &topic, &done, &sent))
    };
    let begun = Instant::now();
    installation.apply_policy("1s");
    let applied = Instant::now();
    let ended = endings.await_at_least(sessions, PATIENCE);
    done.store(true, Ordering::Relaxed);
    others.join().unwrap();
    drop(reader);
    let first = first.lock().unwrap().expect("there were endings");
    let command = (applied - begun).as_secs_f64();
    let effect = first.saturating_duration_since(applied).as_secs_f64();
    row(
        "policy edit: the command itself",
        &format!("{command:.2} s"),
    );
    row(
        "policy edit: from there to the first ending readable",
        &format!("{effect:.2} s"),
    );
    let rate = sessions as f64 / (ended - first).as_secs_f64();
    row("endings readable a second", &format!("{rate:.0}"));
    let mut waits = std::mem::take(&mut *waits.lock().unwrap());
    waits.sort_unstable();
    let of = |share| quantile(&waits, share).as_millis();
    row(
        "meanwhile, from a logout to its ending readable: p50 / p99 / max",
        &format!(
            "{} / {} / {} ms ({} logouts)",
            of(0.5),
            of(0.99),
            of(1.0),
            waits.len()
        ),
    );
}

fn log_others_out(
    bootstrap: &str,
    topic: &str,
    done: &AtomicBool,
    sent: &Mutex<HashMap<Vec<u8>, Instant>>,
) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0")
        .create()
        .unwrap();
    for number in 0.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("other-{number}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let event = format!(
            r#"{{"user_id":{number},"session_id":"{id}","activity_timestamp":{},"event":"logout"}}"#,
            now.as_millis()
        );
        sent.lock()
            .unwrap()
            .insert(id.clone().into_bytes(), Instant::now());
        let record = BaseRecord::to(topic).key(&id).payload(&event);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
        std::thread::sleep(LOGOUT_EVERY);
    }
    producer.flush(PATIENCE).unwrap();
    let begun = Instant::now();
    while !sent.lock().unwrap().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "logouts without endings");
        std::thread::sleep(Duration::from_millis(1));
    }
}
