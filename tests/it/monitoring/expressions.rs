//! The expressions of dashboards and alerts as Prometheus queries.

use std::fs;

use serde_json::Value;

use super::prometheus::{alert_rules, each_rule};

const DASHBOARDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/sundown/dashboards");

/// The metrics that only something wrong brings about, or TLS.
const FAULTS: [&str; 3] = ["sundown_not_ready", "sundown_certificate_expiry", "ALERTS{"];

/// An expression, and where it stands.
#[derive(Clone, Debug)]
pub struct Expression {
    pub place: String,
    pub text: String,
}

impl Expression {
    /// Whether there is only something to show while something is wrong, or of TLS.
    pub fn is_about_faults(&self) -> bool {
        FAULTS.iter().any(|fault| self.text.contains(fault))
    }

    /// What it has given at any time within the last quarter of an hour.
    pub fn at_any_time(&self) -> String {
        format!("count_over_time(({})[15m:1s])", self.text)
    }
}

/// Those of all dashboards, for the namespaces that a regular expression matches and
/// everything in them.
pub fn of_dashboards(namespaces: &str) -> Vec<Expression> {
    let mut expressions = Vec::new();
    let mut files: Vec<_> = fs::read_dir(DASHBOARDS)
        .expect("dashboards")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).expect("a dashboard");
        let dashboard: Value = serde_json::from_str(&text).expect("JSON");
        for panel in dashboard["panels"].as_array().expect("panels") {
            let targets = panel["targets"].as_array().into_iter().flatten();
            expressions.extend(targets.map(|target| Expression {
                place: format!("{} / {}", dashboard["title"], panel["title"]),
                text: substitute(target["expr"].as_str().expect("an expression"), namespaces),
            }));
        }
    }
    expressions
}

/// Those of the alerts without the comparison that they end in, if they do: what is
/// compared has to be there whether or not it is too much.
pub fn of_alerts() -> Vec<Expression> {
    let rules = alert_rules();
    let expressions = each_rule(&rules).filter_map(|rule| {
        let text = rule["expr"].as_str().expect("an expression");
        Some(Expression {
            place: rule["alert"].as_str().expect("a name").to_owned(),
            text: without_comparison(text)?,
        })
    });
    expressions.collect()
}

/// As Grafana would, for a short range.
fn substitute(expression: &str, namespaces: &str) -> String {
    expression
        .replace("$__rate_interval", "20s")
        .replace("$__range", "5m")
        .replace("$cluster", ".*")
        .replace("$namespace", namespaces)
        .replace("$pod", ".*")
        .replace("$action", ".*")
        .replace("$group", ".*")
}

/// The expression before a comparison with a number at its end.
fn without_comparison(expression: &str) -> Option<String> {
    let at = expression.rfind(['<', '>', '='])?;
    let (before, after) = (&expression[..at], &expression[at + 1..]);
    let is_number = after
        .chars()
        .all(|letter| letter.is_ascii_digit() || " .*\n".contains(letter));
    let before = before.trim_end_matches('=');
    is_number.then(|| before.trim().to_owned())
}
