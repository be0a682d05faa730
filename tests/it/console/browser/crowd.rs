//! Pages with many partitions and many processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;
use sundown::clock::Clock;
use sundown::wire::time;

use super::super::Console;
use super::chromium::Chromium;
use super::{OVERFLOW, WINDOWS, axe};
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::topic::NewRecord;

const PROCESSES: i32 = 50;
const PARTITIONS: i32 = 256;
/// Interval between the reports of a process.
const REPORT_INTERVAL: Duration = Duration::from_secs(3);

/// Reports of many processes: one is not ready, one partition is restoring, one is paused.
fn reports(topic: &str, round: u64) -> Vec<NewRecord> {
    let now = time::format(Clock::default().wall());
    let report = |number: i32| {
        let owned = (0..PARTITIONS).filter(|partition| partition % PROCESSES == number);
        let assignments: Vec<_> = owned
            .map(|partition| {
                json!({
                    "topic": topic, "partition": partition, "restoring": partition == 7,
                    "position": 9_000_000 + partition, "end": 9_000_000 + partition * 3,
                    "watermark": now, "sessions": 40_000 + partition, "paused": partition == 9,
                })
            })
            .collect();
        let id = format!("tracker-a-rather-long-host-name-{number}-0123abcd");
        let not_ready = if number == 3 {
            json!({"clock": "this machine's clock and the brokers' are 12s apart"})
        } else {
            json!({})
        };
        let totals = json!({
            "events": round * 30_000, "endings": {"idle_timeout": round * 90, "logout": round * 50},
            "lateness": [{"le": 0.5, "count": round * 80}, {"le": 1.0, "count": round * 90}],
        });
        let report = json!({
            "v": 1, "id": id, "role": "tracker", "version": "0.1.0", "host": "a-rather-long-host-name",
            "pid": 1, "started_at": now, "reported_at": now, "state": "running",
            "not_ready": not_ready, "assignments": assignments, "totals": totals,
            "admin": "10.0.0.1:8080",
            "policies": [{"name": "built-in", "generation": 0, "sessions": 200_000}],
        });
        NewRecord::new(id, report.to_string())
    };
    (0..PROCESSES).map(report).collect()
}

#[test]
fn many_partitions_and_processes_stay_readable() {
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let installation = Installation::new(Kafka::shared(), SHORT);
    let console = Console::start(&installation, &[]);
    let (processes, logs) = (
        installation.topic("sundown.processes"),
        installation.session_logs(),
    );
    let over = Arc::new(AtomicBool::new(false));
    let reporting = {
        let over = Arc::clone(&over);
        thread::spawn(move || {
            let kafka = Kafka::shared();
            for round in 1.. {
                kafka.produce(&processes, reports(&logs, round));
                thread::park_timeout(REPORT_INTERVAL);
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        })
    };
    console.await_json("/api/v1/health", "all partitions", |body| {
        let partitions = body["partitions"].as_array()?;
        (partitions.len() == usize::try_from(PARTITIONS).ok()?).then_some(())
    });
    let mut faults = Vec::new();
    for (window, width, height) in WINDOWS {
        chromium.resize(width, height);
        for page in [
            "/health",
            "/consumers",
            "/dashboard",
            "/health?show=unhealthy&sort=lag",
        ] {
            chromium.open(&console.client.url(page));
            chromium.save_screenshot(&format!(
                "crowd-{window}{}",
                page.replace(['/', '?', '&'], "-")
            ));
            let place = format!("{page} ({window})");
            let overflow = chromium.eval(OVERFLOW).as_f64().expect("a number");
            if overflow > 0.0 {
                faults.push(format!("{place}: {overflow} px wider than the window"));
            }
            let found = axe::faults(&mut chromium).unwrap_or_default();
            faults.extend(found.iter().map(|fault| format!("{place}: {fault}")));
            faults.extend(chromium.console_messages());
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    chromium.open(&console.client.url("/health"));
    let count = |selector: &str| format!("document.querySelectorAll('{selector}').length");
    let cells = count("[data-part=overview] .cells .cell");
    assert_eq!(chromium.eval(&cells), PARTITIONS);
    assert_eq!(
        chromium.eval(&count("[data-part=partitions] tbody tr")),
        PARTITIONS
    );
    over.store(true, Ordering::Relaxed);
    reporting.thread().unpark();
    reporting.join().expect("the reports end");
}
