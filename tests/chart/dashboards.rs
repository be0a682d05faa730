//! The Grafana dashboards, generated from the short form in charts/dashboards/. `UPDATE=1 cargo
//! test --test chart dashboards` generates them again.

mod panel;

use std::collections::BTreeSet;
use std::fs;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::generated::in_step;
use crate::helm::CHART;
use panel::{COLUMNS, Panel};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/dashboards");
const NAMES: [&str; 5] = ["overview", "tracker", "handler", "ingest", "kafka"];
/// What Grafana 9.5 writes.
const SCHEMA: u32 = 38;

/// A dashboard in short.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dashboard {
    uid: String,
    title: String,
    description: String,
    /// A query for the values of each variable, besides the namespace's.
    #[serde(default)]
    variables: serde_yaml::Mapping,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    title: String,
    /// Of each panel, in Grafana's units.
    height: u32,
    panels: Vec<Panel>,
}

#[test]
fn dashboards_are_made_from_their_short_form() {
    for name in NAMES {
        let source = fs::read_to_string(format!("{SOURCES}/{name}.yaml")).unwrap();
        let dashboard: Dashboard = serde_yaml::from_str(&source).unwrap();
        let json = serde_json::to_string_pretty(&dashboard.expand()).unwrap();
        in_step(&format!("dashboards/{name}.json"), &(json + "\n"));
    }
}

impl Dashboard {
    fn expand(&self) -> Value {
        json!({
            "id": null,
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["sundown"],
            "schemaVersion": SCHEMA,
            "version": 1,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "30s",
            "timezone": "",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": self.variables()},
            "annotations": {"list": [{
                // Off: several alerts would cover every panel in red.
                "name": "Critical alerts",
                "datasource": panel::datasource(),
                "enable": false,
                "iconColor": "red",
                "expr": panel::in_cluster("ALERTS{alertname=~\"Sundown.+\", alertstate=\"firing\", severity=\"critical\", namespace=~\"$namespace\"}"),
                "titleFormat": "{{alertname}}",
                "textFormat": "{{namespace}} {{pod}} {{partition}} {{action}} {{policy}}",
                "step": "60s",
            }]},
            "links": [{
                "type": "dashboards",
                "title": "Sundown",
                "tags": ["sundown"],
                "asDropdown": false,
                "includeVars": true,
                "keepTime": true,
                "targetBlank": false,
                "icon": "external link",
            }],
            "panels": self.panels(),
        })
    }

    fn variables(&self) -> Vec<Value> {
        let mut list = vec![json!({
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "current": {},
            "hide": 0,
        })];
        let of_cluster = ("cluster", "label_values(sundown_build_info, cluster)");
        let of_namespace = (
            "namespace",
            "label_values(sundown_build_info{cluster=~\"$cluster\"}, namespace)",
        );
        let own = self.variables.iter();
        let own = own.map(|(name, query)| (name.as_str().unwrap(), query.as_str().unwrap()));
        list.extend(
            [of_cluster, of_namespace]
                .into_iter()
                .chain(own)
                .map(|(name, query)| {
                    let query = panel::in_cluster(query);
                    // One installation at first: the sums of several say little.
                    let current = if name == "namespace" {
                        json!({})
                    } else {
                        json!({"selected": true, "text": ["All"], "value": ["$__all"]})
                    };
                    json!({
                        "name": name,
                        "label": name,
                        "type": "query",
                        "datasource": panel::datasource(),
                        "query": {"query": query, "refId": name},
                        "definition": query,
                        "refresh": 2,
                        "sort": 1,
                        "multi": true,
                        "includeAll": true,
                        // Matches series without the label too: processes outside Kubernetes.
                        "allValue": ".*",
                        "current": current,
                        "hide": 0,
                    })
                }),
        );
        list
    }

    /// Rows from top to bottom, the panels of each from left to right.
    fn panels(&self) -> Vec<Value> {
        let mut panels = Vec::new();
        let mut y = 0;
        for row in &self.rows {
            let place = json!({"x": 0, "y": y, "w": COLUMNS, "h": 1});
            panels.push(json!({
                "id": panels.len() + 1,
                "type": "row",
                "title": row.title,
                "collapsed": false,
                "gridPos": place,
                "panels": [],
            }));
            y += 1;
            let mut x = 0;
            for panel in &row.panels {
                if x + panel.width > COLUMNS {
                    (x, y) = (0, y + row.height);
                }
                let place = json!({"x": x, "y": y, "w": panel.width, "h": row.height});
                panels.push(panel.expand(panels.len() + 1, &place));
                x += panel.width;
            }
            y += row.height;
        }
        panels
    }
}

/// Several alerts would cover the data of every panel in red.
#[test]
fn annotations_are_named_and_off() {
    for name in NAMES {
        let text = fs::read_to_string(format!("{CHART}/dashboards/{name}.json")).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        let annotations: Vec<_> = array(&dashboard["annotations"]["list"]).collect();
        assert_eq!(annotations.len(), 1, "{name}");
        assert_eq!(annotations[0]["name"], "Critical alerts", "{name}");
        assert_eq!(annotations[0]["enable"], false, "{name}");
        let query = annotations[0]["expr"].as_str().unwrap();
        assert!(query.contains("severity=\"critical\""), "{name}: {query}");
    }
}

/// What Grafana would refuse, or show wrongly.
#[test]
fn dashboards_are_sound() {
    let mut uids = BTreeSet::new();
    for name in NAMES {
        let text = fs::read_to_string(format!("{CHART}/dashboards/{name}.json")).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        assert!(uids.insert(dashboard["uid"].as_str().unwrap().to_owned()));
        let variables: Vec<_> = array(&dashboard["templating"]["list"])
            .map(|variable| variable["name"].as_str().unwrap())
            .collect();
        assert!(
            variables.starts_with(&["datasource", "cluster", "namespace"]),
            "{name}"
        );
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in array(&dashboard["panels"]) {
            let what = format!("{name}: {}", panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{what}: its id");
            assert_place(&what, &panel["gridPos"], &mut taken);
            if panel["type"] != "row" {
                assert_panel(&what, panel, &variables);
            }
        }
    }
}

fn assert_place(what: &str, place: &Value, taken: &mut BTreeSet<(u64, u64)>) {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| place[key].as_u64().unwrap());
    assert!(
        x + w <= u64::from(COLUMNS) && w > 0 && h > 0,
        "{what}: {place}"
    );
    for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
        assert!(taken.insert(cell), "{what}: overlaps at {cell:?}");
    }
}

fn assert_panel(what: &str, panel: &Value, variables: &[&str]) {
    let kinds = ["timeseries", "stat", "gauge", "table", "heatmap"];
    assert!(kinds.contains(&panel["type"].as_str().unwrap()), "{what}");
    assert_eq!(panel["datasource"], panel::datasource(), "{what}");
    for text in [&panel["title"], &panel["description"]] {
        assert!(!text.as_str().unwrap().is_empty(), "{what}");
    }
    let defaults = &panel["fieldConfig"]["defaults"];
    assert!(!defaults["unit"].as_str().unwrap().is_empty(), "{what}");
    assert!(
        array(&defaults["thresholds"]["steps"]).count() > 0,
        "{what}"
    );
    let mut references = BTreeSet::new();
    for target in array(&panel["targets"]) {
        assert_eq!(target["datasource"], panel::datasource(), "{what}");
        assert!(
            references.insert(target["refId"].as_str().unwrap()),
            "{what}"
        );
        let query = target["expr"].as_str().unwrap();
        assert!(query.contains("$namespace"), "{what}: {query}");
        for variable in used(query) {
            let known = variables.contains(&variable) || variable.starts_with("__");
            assert!(known, "{what}: ${variable}");
        }
    }
    assert!(!references.is_empty(), "{what}: nothing to show");
}

/// The variables in a query.
fn used(query: &str) -> impl Iterator<Item = &str> {
    query.split('$').skip(1).map(|rest| {
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}
