//! Metrics, dashboards and alerts on a real Prometheus (Debian's package `prometheus`), which
//! scrapes a real installation with the labels that a PodMonitor would put on.
//!
//! Every alert fires by the fault that it is for, and not before ([`whole`], [`broker`],
//! [`starts`]); only the patience (`for`) is left out, which [`rules`] tests in made-up time.

mod apiserver;
mod broker;
mod expressions;
mod prometheus;
mod rules;
mod scene;
mod starts;
mod whole;

use std::collections::BTreeSet;

use prometheus::{alert_rules, each_rule};

/// One fault for each alert; what the tests provoke, they name.
#[test]
fn every_alert_is_provoked() {
    let rules = alert_rules();
    let all: BTreeSet<_> = each_rule(&rules)
        .map(|rule| rule["alert"].as_str().expect("a name"))
        .collect();
    let provoked = [whole::ALERTS, broker::ALERTS, starts::ALERTS, rules::ALERTS];
    let provoked: BTreeSet<_> = provoked.into_iter().flatten().copied().collect();
    assert_eq!(all, provoked);
}
