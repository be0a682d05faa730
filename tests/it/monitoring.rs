//! Metrics, dashboards and alerts on a real Prometheus (Debian's package `prometheus`), which
//! scrapes real installations with the labels that a PodMonitor would put on.
//!
//! Every alert fires by the fault that it is for, and not before. It waits for seconds
//! instead of minutes then; how long alerts really wait, [`rules`] tests in made-up time.

pub mod apiserver;
mod broker;
mod expressions;
mod prometheus;
mod rules;
mod scene;
mod starts;
mod storm;
mod trackers;
mod whole;

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::thread;

use expressions::{Expression, of_alerts, of_dashboards};
use prometheus::{Prometheus, alert_rules, each_rule};

/// All of it under one Prometheus, which labels the installations. They run in
/// parallel, because most of the time is waiting.
#[test]
fn dashboards_show_everything_and_alerts_fire_by_their_faults_alone() {
    let prometheus = &Prometheus::start();
    let plays = [
        whole::play,
        trackers::play,
        broker::play,
        starts::play,
        storm::play,
    ];
    let mut provoked = BTreeSet::new();
    thread::scope(|scope| {
        let playing = plays.map(|play| scope.spawn(move || play(prometheus)));
        for play in playing {
            provoked.extend(play.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
    });
    assert_faults_were_shown(prometheus);
    let rules = alert_rules();
    let all = each_rule(&rules).map(|rule| rule["alert"].as_str().expect("a name"));
    assert_eq!(all.collect::<BTreeSet<_>>(), provoked);
}

/// What is shown of faults has been shown at some time, by whichever installation had them:
/// one that is through with its faults need not wait for others.
fn assert_faults_were_shown(prometheus: &Prometheus) {
    let expressions = of_dashboards(".+").into_iter().chain(of_alerts());
    let about_faults: Vec<_> = expressions.filter(Expression::is_about_faults).collect();
    assert!(!about_faults.is_empty());
    for expression in about_faults {
        let shown = prometheus.query(&expression.at_any_time());
        assert!(!shown.is_empty(), "no data of {}", expression.place);
    }
}
