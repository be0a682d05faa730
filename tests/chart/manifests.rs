//! The files in `manifests/` match the chart.

use std::fs;

use serde_json::Value;

use crate::helm::{CHART, helm};

const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests");

/// What the page in there has people combine.
const COMBINATIONS: [&[&str]; 4] = [
    &["values-kind"],
    &["values-kind", "values-monitoring"],
    &["values-kind", "values-monitoring", "values-keda"],
    &["values-kind", "values-monitoring", "values-hpa"],
];

#[test]
fn the_chart_takes_its_values() {
    for combination in COMBINATIONS {
        let files: Vec<_> = combination.iter().map(|name| path(name)).collect();
        let mut arguments = vec!["lint", "--strict", CHART];
        for file in &files {
            arguments.extend(["--values", file]);
        }
        let Some(output) = helm(&arguments) else {
            return;
        };
        assert!(output.status.success(), "{combination:?}: {output:?}");
    }
}

/// The adapter's own query would add up the lags of all partitions.
#[test]
fn the_adapter_serves_the_largest_lag_by_the_name_that_autoscalers_ask_for() {
    let adapter = parsed(&path("prometheus-adapter"));
    let rule = &adapter["rules"]["external"][0];
    let values = parsed(&format!("{CHART}/values.yaml"));
    assert_eq!(rule["name"]["as"], values["autoscaling"]["externalMetric"]);
    let query = rule["metricsQuery"].as_str().unwrap();
    assert!(query.starts_with("max("), "{query}");
}

fn path(name: &str) -> String {
    format!("{MANIFESTS}/{name}.yaml")
}

fn parsed(path: &str) -> Value {
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
