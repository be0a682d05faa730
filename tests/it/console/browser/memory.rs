//! Memory of a console with an open page.

use std::fs;
use std::thread;
use std::time::Duration;

use super::super::{Console, SOON};
use super::chromium::Chromium;
use super::ready;
use crate::support::wait::eventually;

/// Environment variable with the duration of the test in seconds.
const SECONDS: &str = "SUNDOWN_TEST_OPEN_SECONDS";
const DEFAULT_SECONDS: u64 = 30;
/// Allowed growth of the process while its buffers and caches fill, in KiB.
const MAX_PROCESS_GROWTH_KIB: u64 = 24 * 1024;
/// Allowed growth of the JavaScript heap, in bytes.
const MAX_HEAP_GROWTH: f64 = 4e6;

/// A sample of the memory in use.
#[derive(Clone, Copy, Debug)]
struct MemorySample {
    /// Resident memory of the console process, in KiB.
    resident: u64,
    /// JavaScript heap of the page after a garbage collection, in bytes.
    heap: f64,
    /// DOM nodes of the page.
    nodes: f64,
}

impl MemorySample {
    fn take(console: &Console, chromium: &mut Chromium) -> Self {
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
fn an_open_page_under_load_does_not_leak_memory() {
    let Some(mut chromium) = Chromium::launch() else {
        return;
    };
    let seconds = std::env::var(SECONDS)
        .ok()
        .and_then(|text| text.parse().ok());
    let seconds: u64 = seconds.unwrap_or(DEFAULT_SECONDS);
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
    let mut samples = vec![MemorySample::take(&console, &mut chromium)];
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(seconds * 100));
        samples.push(MemorySample::take(&console, &mut chromium));
    }
    for one in &samples {
        eprintln!("{one:?}");
    }
    let (first, last) = (samples[1], samples[10]);
    assert!(
        last.resident < first.resident + MAX_PROCESS_GROWTH_KIB,
        "{first:?} {last:?}"
    );
    assert!(
        last.heap < first.heap + MAX_HEAP_GROWTH,
        "{first:?} {last:?}"
    );
    assert!(
        last.nodes < first.nodes * 2.0 + 1_000.0,
        "{first:?} {last:?}"
    );
    assert_eq!(chromium.console_messages(), Vec::<String>::new());
}
