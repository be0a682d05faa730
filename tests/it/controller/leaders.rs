//! Controllers that take turns.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use serde_json::json;

use super::cluster::{Cluster, SOON};
use super::site::Site;
use crate::support::wait::eventually;

const LEADING: &str = "became the leader";

pub fn a_killed_leader_is_succeeded_and_nothing_is_written_twice(cluster: &Cluster) {
    let site = Site::new(cluster);
    let namespace = &site.namespace;
    let first = site.controller();
    first.await_message(LEADING);
    let second = site.controller();
    second.await_ready();
    namespace.apply("p", &json!({"idleTimeout": "1h"}));
    namespace.await_published("p");
    assert_eq!(second.metric("sundown_controller_leader", ""), 0);
    assert_eq!(second.metric("sundown_policy_generation", ""), 0);
    first.kill();
    namespace.apply("p", &json!({"idleTimeout": "2h"}));
    second.await_message(LEADING);
    namespace.await_published("p");
    let transitions = || lease(&site).spec.and_then(|spec| spec.lease_transitions);
    assert_eq!(transitions(), Some(1));
    // One that stops gives the lease back.
    second.stop();
    let holder = lease(&site).spec.and_then(|spec| spec.holder_identity);
    assert_eq!(holder, None);
    assert_eq!(site.records().len(), 2);
}

pub fn a_leader_that_was_frozen_writes_nothing_when_it_thaws(cluster: &Cluster) {
    let site = Site::new(cluster);
    let namespace = &site.namespace;
    let mut first = site.controller();
    first.await_message(LEADING);
    namespace.apply("p", &json!({"idleTimeout": "1h"}));
    namespace.await_published("p");
    let second = site.controller();
    first.process.sigstop();
    // It will believe that this is still to be published.
    namespace.apply("p", &json!({"idleTimeout": "2h"}));
    second.await_message(LEADING);
    namespace.await_published("p");
    namespace.apply("p", &json!({"idleTimeout": "3h"}));
    namespace.await_published("p");
    first.process.sigcont();
    first.await_message("lost the leadership");
    namespace.apply("p", &json!({"idleTimeout": "4h"}));
    namespace.await_published("p");
    assert_eq!(first.metric("sundown_controller_records_total", ""), 1);
    assert_eq!(first.metric("sundown_policy_generation", ""), 0);
    second.stop();
    eventually(SOON, "the first to lead again", || {
        (first.metric("sundown_controller_leader", "") == 1).then_some(())
    });
    first.stop();
    assert_eq!(site.records().len(), 4);
}

fn lease(site: &Site<'_>) -> Lease {
    let cluster = site.namespace.cluster;
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), &site.namespace.name);
    cluster
        .wait(api.get("sundown-controller"))
        .expect("the lease")
}
