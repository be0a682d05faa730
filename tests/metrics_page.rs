//! docs/metrics.md lists every metric of every role, as the registries have them.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says what it saw"
)]

use std::fs;
use std::path::Path;

use prometheus::Registry;
use prometheus::proto::{MetricFamily, MetricType};
use sundown::metrics::controller::{ControllerMetrics, PartitionLag, PolicyGauges};
use sundown::metrics::handler::HandlerMetrics;
use sundown::metrics::registry;
use sundown::metrics::tracker::{PartitionGauges, TrackerMetrics};
use sundown::session::Timestamp;

const PAGE: &str = "docs/metrics.md";

#[test]
fn the_page_lists_what_the_roles_serve() {
    let page = read(PAGE);
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let mut expected = Vec::new();
    for registry in [tracker(), handler(), controller()] {
        expected.extend(registry.gather().iter().map(row));
    }
    // Every role has it; the page tells it once.
    let build_info = expected
        .iter()
        .find(|row| row.contains("build_info"))
        .cloned();
    expected.retain(|row| Some(row) != build_info.as_ref());
    expected.insert(0, build_info.unwrap());
    assert!(
        rows == expected,
        "the rows of {PAGE} have to be\n{}",
        expected.join("\n")
    );
}

/// A vector of metrics shows only once it has labels: this finds those that no registry here
/// has shown.
#[test]
fn no_metric_is_forgotten() {
    let page = read(PAGE);
    for role in ["tracker", "handler", "controller"] {
        let source = read(&format!("src/metrics/{role}.rs"));
        let texts = source.split('"').skip(1).step_by(2);
        let names: Vec<_> = texts
            .filter(|text| text.starts_with("sundown_") || text.starts_with("kafka_"))
            .collect();
        assert!(names.len() > 3, "{role}: {names:?}");
        for name in names {
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
        }
    }
}

fn tracker() -> Registry {
    let registry = registry("tracker").unwrap();
    let metrics = TrackerMetrics::new(&registry).unwrap();
    let partition = PartitionGauges {
        number: 0,
        restored: Some((1, Timestamp::from_millis(1))),
        paused: false,
    };
    metrics.assignment([partition].into_iter());
    registry
}

fn handler() -> Registry {
    let registry = registry("handler").unwrap();
    HandlerMetrics::new(&registry, ["notify"], &["malformed"]).unwrap();
    registry
}

fn controller() -> Registry {
    let registry = registry("controller").unwrap();
    let metrics = ControllerMetrics::new(&registry).unwrap();
    metrics.policies(&[PolicyGauges {
        name: "default/p",
        generation: 1,
        sessions: 1,
        trackers: 1,
        ready: true,
    }]);
    metrics.lag(&[PartitionLag {
        group: "sundown-tracker",
        topic: "session_logs",
        partition: 0,
        records: 1,
        seconds: Some(1.0),
    }]);
    registry
}

fn row(family: &MetricFamily) -> String {
    let kind = match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        other => panic!("{}: {other:?}", family.name()),
    };
    let labels = family.get_metric()[0].get_label().iter();
    let labels: Vec<_> = labels.map(|label| format!("`{}`", label.name())).collect();
    let (name, help) = (family.name(), family.help());
    format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "))
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default()
}
