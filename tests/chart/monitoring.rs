//! The rendered objects for Prometheus and Grafana.

use std::fs;

use serde::Deserialize;
use serde_json::Value;

use crate::helm::{CHART, template};

const BROKERS: &str = "kafka.bootstrapServers=kafka:9092";
/// The API server's limit of the size of a ConfigMap.
const MAX_CONFIG_MAP: usize = 1 << 20;

/// The objects of these kinds that are rendered with these values; `None` without helm.
fn rendered(values: &[&str], kinds: &[&str]) -> Option<Vec<Value>> {
    let rendered = template(&[&[BROKERS], values].concat())?.unwrap();
    let objects = serde_yaml::Deserializer::from_str(&rendered);
    let objects = objects.map(|object| Value::deserialize(object).unwrap());
    let fits = |object: &Value| kinds.iter().any(|kind| object["kind"] == *kind);
    Some(objects.filter(fits).collect())
}

fn alerts() -> Value {
    let text = fs::read_to_string(format!("{CHART}/files/alerts.yaml")).unwrap();
    serde_yaml::from_str(&text).unwrap()
}

fn rules(groups: &Value) -> Vec<&Value> {
    let groups = groups.as_array().unwrap().iter();
    groups
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect()
}

#[test]
fn nothing_of_it_is_there_unless_asked_for_and_each_works_alone() {
    let kinds = ["PodMonitor", "ServiceMonitor", "PrometheusRule"];
    let Some(unasked) = rendered(&[], &kinds) else {
        return;
    };
    assert_eq!(unasked, Vec::<Value>::new());
    for kind in kinds {
        let name = kind[..1].to_lowercase() + &kind[1..];
        let enabled = format!("monitoring.{name}.enabled=true");
        let objects = rendered(&[&enabled], &kinds).unwrap();
        assert_eq!(objects.len(), 1, "{kind}");
        assert_eq!(objects[0]["kind"], kind);
    }
}

#[test]
fn monitors_find_the_admin_ports() {
    let values = ["monitoring.podMonitor.enabled=true"];
    let Some(objects) = rendered(&values, &["PodMonitor", "Deployment"]) else {
        return;
    };
    let (monitors, deployments): (Vec<_>, Vec<_>) = objects
        .iter()
        .partition(|object| object["kind"] == "PodMonitor");
    let wanted = monitors[0]["spec"]["selector"]["matchLabels"].as_object();
    let port = &monitors[0]["spec"]["podMetricsEndpoints"][0]["port"];
    assert_eq!(deployments.len(), 4);
    for deployment in deployments {
        let pod = &deployment["spec"]["template"];
        for (label, value) in wanted.unwrap() {
            assert_eq!(pod["metadata"]["labels"][label], *value);
        }
        let ports = pod["spec"]["containers"][0]["ports"].as_array().unwrap();
        assert!(ports.iter().any(|found| found["name"] == *port));
    }
    let values = ["monitoring.serviceMonitor.enabled=true"];
    let objects = rendered(&values, &["ServiceMonitor", "Service"]).unwrap();
    let (monitors, services): (Vec<_>, Vec<_>) = objects
        .iter()
        .partition(|object| object["kind"] == "ServiceMonitor");
    let wanted = monitors[0]["spec"]["selector"]["matchLabels"].as_object();
    let port = &monitors[0]["spec"]["endpoints"][0]["port"];
    assert_eq!(services.len(), 4);
    for service in services {
        for (label, value) in wanted.unwrap() {
            assert_eq!(service["metadata"]["labels"][label], *value);
        }
        assert_eq!(service["spec"]["ports"][0]["name"], *port);
    }
}

#[test]
fn the_rules_are_those_of_the_file() {
    let values = ["monitoring.prometheusRule.enabled=true"];
    let Some(objects) = rendered(&values, &["PrometheusRule"]) else {
        return;
    };
    assert_eq!(objects[0]["spec"], alerts());
}

#[test]
fn rules_can_be_left_out_labelled_and_pointed_elsewhere() {
    let Some(objects) = rendered(
        &[
            "monitoring.prometheusRule.enabled=true",
            "monitoring.prometheusRule.labels.release=monitoring",
            "monitoring.prometheusRule.alertLabels.team=identity",
            "monitoring.prometheusRule.disabled={SundownTrackerLag}",
            "monitoring.prometheusRule.runbookUrl=https://runbooks.example/sundown",
        ],
        &["PrometheusRule"],
    ) else {
        return;
    };
    assert_eq!(objects[0]["metadata"]["labels"]["release"], "monitoring");
    let alerts = alerts();
    let all = rules(&alerts["groups"]);
    let left = rules(&objects[0]["spec"]["groups"]);
    assert_eq!(left.len(), all.len() - 1);
    for rule in left {
        let name = rule["alert"].as_str().unwrap();
        assert_ne!(name, "SundownTrackerLag");
        assert_eq!(rule["labels"]["team"], "identity");
        assert!(rule["labels"]["severity"].is_string());
        let anchor = name.to_lowercase();
        let page = format!("https://runbooks.example/sundown#{anchor}");
        assert_eq!(rule["annotations"]["runbook_url"], *page);
    }
}

#[test]
fn dashboards_are_config_maps_that_grafana_finds() {
    let Some(objects) = rendered(
        &[
            "monitoring.dashboards.enabled=true",
            "monitoring.dashboards.namespace=monitoring",
            "monitoring.dashboards.annotations.grafana_folder=Sessions",
        ],
        &["ConfigMap"],
    ) else {
        return;
    };
    let dashboards: Vec<_> = objects
        .iter()
        .filter(|object| object["metadata"]["labels"]["grafana_dashboard"] == "1")
        .collect();
    assert_eq!(dashboards.len(), 5);
    for object in dashboards {
        assert_eq!(object["metadata"]["namespace"], "monitoring");
        assert_eq!(
            object["metadata"]["annotations"]["grafana_folder"],
            "Sessions"
        );
        assert!(object.to_string().len() < MAX_CONFIG_MAP);
        let data = object["data"].as_object().unwrap();
        for (name, content) in data {
            let name = name.trim_start_matches("sundown-");
            let file = fs::read_to_string(format!("{CHART}/dashboards/{name}")).unwrap();
            assert_eq!(content.as_str().unwrap().trim_end(), file.trim_end());
        }
    }
}

/// Each alert has a summary and an entry in the runbook; the runbook has no other entries.
#[test]
fn every_alert_has_its_entry_in_the_runbook() {
    let runbook = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/how-to/runbook.md");
    let runbook = fs::read_to_string(runbook).unwrap();
    let entries: Vec<_> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## Sundown"))
        .map(|name| format!("Sundown{name}"))
        .collect();
    let alerts = alerts();
    let mut names = Vec::new();
    for rule in rules(&alerts["groups"]) {
        let name = rule["alert"].as_str().unwrap();
        names.push(name.to_owned());
        let anchor = format!("docs/how-to/runbook.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], *anchor, "{name}");
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].is_string(), "{name}: {text}");
        }
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}");
    }
    assert_eq!(entries, names, "in the order of the rules");
}
