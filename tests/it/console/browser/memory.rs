//! A console that is left open keeps its memory.

use std::fs;
use std::thread;
use std::time::Duration;

use super::super::{Console, SOON};
use super::chromium::Chromium;
use super::ready;
use crate::eventually::eventually;

/// For how many seconds the page is left open; the short run of the checks without it.
const SECONDS: &str = "SUNDOWN_TEST_OPEN_SECONDS";
const USUAL_SECONDS: u64 = 30;
/// What a process may gain while its buffers and caches fill, in KiB.
const SETTLING_KIB: u64 = 24 * 1024;
/// What a page may, in bytes.
const SETTLING_HEAP: f64 = 4e6;

/// What is held at some moment.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// By the console's process, in KiB.
    resident: u64,
    /// By the page's scripts, after a collection, in bytes.
    heap: f64,
    /// Elements and texts of the page.
    nodes: f64,
}

impl Held {
    fn now(console: &Console, chromium: &mut Chromium) -> Self {
        let status = fs::read_to_string(format!("/proc/{}/status", console.process.id()));
        let status = status.expect("the process is there");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let resident = line.and_then(|line| line.split_whitespace().nth(1));
        chromium.call("HeapProfiler.collectGarbage", &serde_json::json!({}));
        let metrics = chromium.call("Performance.getMetrics", &serde_json::json!({}));
        let metric = |name: &str| {
            let mut all = metrics["metrics"].as_array().expect("a list").iter();
            let metric = all.find(|metric| metric["name"] == name);
            metric
                .and_then(|metric| metric["value"].as_f64())
                .expect("a number")
        };
        Self {
            resident: resident.and_then(|text| text.parse().ok()).expect("KiB"),
            heap: metric("JSHeapUsedSize"),
            nodes: metric("Nodes"),
        }
    }
}

#[test]
fn a_console_left_open_under_load_keeps_its_memory() {
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let seconds = std::env::var(SECONDS)
        .ok()
        .and_then(|text| text.parse().ok());
    let seconds: u64 = seconds.unwrap_or(USUAL_SECONDS);
    let (installation, _tracker, console) = ready();
    let duration = format!("{}s", seconds + 60);
    let load = [
        "produce",
        "--rate",
        "500",
        "--users",
        "5000",
        "--duration",
        &duration,
    ];
    let _users = installation.sundown(&load).start();
    chromium.open(&console.client.url("/dashboard"));
    let rate = "document.querySelector('#chart-events .legend b').textContent";
    eventually(SOON, "the load in the chart", || {
        let rate = chromium.eval(rate);
        rate.as_str()?
            .parse::<f64>()
            .ok()
            .filter(|rate| *rate > 100.0)
    });
    let mut held = vec![Held::now(&console, &mut chromium)];
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(seconds * 100));
        held.push(Held::now(&console, &mut chromium));
    }
    for one in &held {
        eprintln!("{one:?}");
    }
    let (first, last) = (held[1], held[10]);
    assert!(
        last.resident < first.resident + SETTLING_KIB,
        "{first:?} {last:?}"
    );
    assert!(last.heap < first.heap + SETTLING_HEAP, "{first:?} {last:?}");
    assert!(
        last.nodes < first.nodes * 2.0 + 1_000.0,
        "{first:?} {last:?}"
    );
    assert_eq!(chromium.complaints(), Vec::<String>::new());
}
