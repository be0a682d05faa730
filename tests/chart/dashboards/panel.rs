//! One panel, from its short form to Grafana's.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// How wide a dashboard is.
pub(super) const COLUMNS: u32 = 24;

/// A panel in short.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Panel {
    title: String,
    description: String,
    #[serde(rename = "type")]
    kind: Kind,
    pub(super) width: u32,
    /// Grafana's name of it.
    unit: String,
    min: Option<f64>,
    max: Option<f64>,
    decimals: Option<u32>,
    /// Colors by the value from which they apply.
    #[serde(default)]
    thresholds: serde_yaml::Mapping,
    /// Grafana's names of the units of a table's columns, where they differ.
    #[serde(default)]
    units: serde_yaml::Mapping,
    /// A logarithmic axis: one spike must not flatten everything else.
    #[serde(default)]
    log: bool,
    /// Words for values.
    #[serde(default)]
    mappings: serde_yaml::Mapping,
    /// Series on top of each other: where they make up a whole.
    #[serde(default)]
    stacked: bool,
    /// By legend, or name of the column.
    queries: serde_yaml::Mapping,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Timeseries,
    Stat,
    Gauge,
    Table,
    Heatmap,
}

/// Colors of results and reasons.
const SERIES_COLORS: [(&str, &str); 3] = [
    ("/(^|: )(ok|done|committed|restored|handled)$/", "green"),
    (
        "/(^|: )(error|failed|refused|exhausted|aborted|fenced|degraded|event|dead_lettered)$/",
        "red",
    ),
    (
        "/(^|: )(target|target_down|cancelled|dropped|handler)$/",
        "orange",
    ),
];

/// Whatever the variable names.
pub(super) fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

impl Panel {
    pub(super) fn expand(&self, id: usize, place: &Value) -> Value {
        json!({
            "id": id,
            "type": self.kind.name(),
            "title": self.title,
            "description": self.description,
            "datasource": datasource(),
            "gridPos": place,
            "fieldConfig": {"defaults": self.defaults(), "overrides": self.overrides()},
            "options": self.kind.options(),
            "targets": self.targets(),
            "transformations": self.transformations(),
        })
    }

    fn defaults(&self) -> Value {
        let mut defaults = json!({
            "unit": self.unit,
            "color": {"mode": if self.kind == Kind::Timeseries { "palette-classic" } else { "thresholds" }},
            "thresholds": {"mode": "absolute", "steps": self.steps()},
            "mappings": self.mappings(),
            "custom": self.custom(),
        });
        for (key, value) in [
            ("min", self.min.map(|min| json!(min))),
            ("max", self.max.map(|max| json!(max))),
            ("decimals", self.decimals.map(|decimals| json!(decimals))),
        ] {
            if let Some(value) = value {
                defaults[key] = value;
            }
        }
        let negative = self
            .thresholds
            .keys()
            .any(|from| from.as_f64().unwrap() < 0.0);
        if self.kind == Kind::Timeseries && !self.log && !negative || self.max.is_some() {
            defaults["min"] = json!(self.min.unwrap_or_default());
        }
        if self.kind == Kind::Table {
            // Each column has its own.
            defaults["unit"] = json!("none");
        }
        defaults
    }

    /// Units of a table's values; colors of series by what they are called, not by their order.
    fn overrides(&self) -> Vec<Value> {
        let set = |matcher: Value, id: &str, value: Value| json!({"matcher": matcher, "properties": [{"id": id, "value": value}]});
        match self.kind {
            Kind::Table => {
                let columns = self.queries.keys().map(|name| name.as_str().unwrap());
                let unit = |name| {
                    self.units
                        .get(name)
                        .map_or(self.unit.as_str(), |unit| unit.as_str().unwrap())
                };
                let by_name = |name| json!({"id": "byName", "options": name});
                columns
                    .map(|name| set(by_name(name), "unit", json!(unit(name))))
                    .collect()
            }
            Kind::Timeseries => SERIES_COLORS
                .iter()
                .map(|(pattern, color)| {
                    let matcher = json!({"id": "byRegexp", "options": pattern});
                    set(
                        matcher,
                        "color",
                        json!({"mode": "fixed", "fixedColor": color}),
                    )
                })
                .collect(),
            Kind::Stat | Kind::Gauge | Kind::Heatmap => Vec::new(),
        }
    }

    /// The first step has no value: it begins at minus infinity.
    fn steps(&self) -> Vec<Value> {
        let mut steps = vec![json!({"color": "blue", "value": null})];
        for (number, (from, color)) in self.thresholds.iter().enumerate() {
            let value = serde_json::to_value(from).unwrap();
            if number == 0 {
                steps[0]["color"] = json!(color.as_str().unwrap());
            } else {
                steps.push(json!({"color": color.as_str().unwrap(), "value": value}));
            }
        }
        steps
    }

    fn mappings(&self) -> Vec<Value> {
        let mut words = Map::new();
        for (index, (value, text)) in self.mappings.iter().enumerate() {
            let value = serde_json::to_value(value).unwrap().to_string();
            words.insert(
                value,
                json!({"text": text.as_str().unwrap(), "index": index}),
            );
        }
        if words.is_empty() {
            return Vec::new();
        }
        vec![json!({"type": "value", "options": words})]
    }

    fn custom(&self) -> Value {
        match self.kind {
            Kind::Timeseries => json!({
                "drawStyle": "line",
                // A line of zeros on top of a stack would look like its sum.
                "lineWidth": if self.stacked { 0 } else { 1 },
                "scaleDistribution": if self.log { json!({"type": "log", "log": 10}) } else { json!({"type": "linear"}) },
                "axisSoftMax": if self.unit == "none" { json!(1) } else { Value::Null },
                "fillOpacity": if self.stacked { 60 } else { 8 },
                "showPoints": "never",
                "spanNulls": false,
                "stacking": {"mode": if self.stacked { "normal" } else { "none" }, "group": "A"},
                "thresholdsStyle": {"mode": if self.thresholds.is_empty() { "off" } else { "dashed" }},
            }),
            Kind::Table => {
                json!({"align": "auto", "cellOptions": {"type": "auto"}, "filterable": true})
            }
            Kind::Heatmap => json!({"scaleDistribution": {"type": "linear"}}),
            Kind::Stat | Kind::Gauge => json!({}),
        }
    }

    fn targets(&self) -> Vec<Value> {
        let queries = self.queries.iter().zip('A'..='Z');
        let targets = queries.map(|((legend, query), reference)| {
            // The value of now: the last one of a process that is gone is none.
            let once = matches!(self.kind, Kind::Table | Kind::Stat | Kind::Gauge);
            json!({
                "refId": reference.to_string(),
                "datasource": datasource(),
                "editorMode": "code",
                "expr": in_cluster(query.as_str().unwrap()),
                "legendFormat": legend.as_str().unwrap(),
                "instant": once,
                "range": !once,
                "format": match self.kind {
                    Kind::Table => "table",
                    Kind::Heatmap => "heatmap",
                    Kind::Timeseries | Kind::Stat | Kind::Gauge => "time_series",
                },
            })
        });
        targets.collect()
    }

    /// The columns of a table by name, without the time at which it was asked for.
    fn transformations(&self) -> Vec<Value> {
        if self.kind != Kind::Table {
            return Vec::new();
        }
        let (mut names, mut order) = (Map::new(), Map::new());
        let several = self.queries.len() > 1;
        for ((name, _), reference) in self.queries.iter().zip('A'..='Z') {
            let column = if several {
                format!("Value #{reference}")
            } else {
                "Value".to_owned()
            };
            // Values before labels: the last columns are off narrow screens.
            order.insert(column.clone(), json!(order.len()));
            names.insert(column, json!(name.as_str().unwrap()));
        }
        let organize = json!({
            "id": "organize",
            "options": {"excludeByName": {"Time": true}, "indexByName": order, "renameByName": names},
        });
        if several {
            vec![json!({"id": "merge", "options": {}}), organize]
        } else {
            vec![organize]
        }
    }
}

/// The query, of the chosen cluster only. Series of a Prometheus that serves one cluster have no such
/// label.
pub(super) fn in_cluster(query: &str) -> String {
    query.replace(
        "namespace=~\"$namespace\"",
        "cluster=~\"$cluster\", namespace=~\"$namespace\"",
    )
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Timeseries => "timeseries",
            Self::Stat => "stat",
            Self::Gauge => "gauge",
            Self::Table => "table",
            Self::Heatmap => "heatmap",
        }
    }

    fn options(self) -> Value {
        let last = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
        match self {
            Self::Timeseries => json!({
                "legend": {"showLegend": true, "displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
            Self::Stat => json!({
                "reduceOptions": last,
                "colorMode": "value",
                "graphMode": "none",
                "textMode": "auto",
                "justifyMode": "auto",
                "orientation": "auto",
            }),
            Self::Gauge => json!({
                "reduceOptions": last,
                "orientation": "auto",
                "showThresholdLabels": false,
                "showThresholdMarkers": true,
            }),
            Self::Table => {
                json!({"showHeader": true, "cellHeight": "sm", "footer": {"show": false}})
            }
            Self::Heatmap => json!({
                "calculate": false,
                "cellGap": 1,
                "color": {"mode": "scheme", "scheme": "Oranges", "scale": "exponential", "exponent": 0.5, "steps": 64, "reverse": false},
                "filterValues": {"le": 1e-9},
                "legend": {"show": true},
                "rowsFrame": {"layout": "auto"},
                "showValue": "never",
                "tooltip": {"show": true, "yHistogram": false},
                "yAxis": {"axisPlacement": "left", "unit": "s"},
            }),
        }
    }
}
