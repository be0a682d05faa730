//! Leader election between controllers.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams};
use serde_json::json;

use super::cluster::{Cluster, SOON};
use super::deployment::Deployment;
use crate::support::role::RoleProcess;
use crate::support::wait::eventually;

const LEADING: &str = "became the leader";

pub fn a_killed_leader_is_succeeded_and_nothing_is_written_twice(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let first = deployment.controller();
    first.await_message(LEADING);
    let second = deployment.controller();
    second.await_ready();
    namespace.apply("p", &json!({"idleTimeout": "1h"}));
    namespace.await_published("p");
    assert_eq!(second.metric("sundown_controller_leader", ""), 0);
    assert_eq!(second.metric("sundown_policy_generation", ""), 0);
    first.kill();
    namespace.apply("p", &json!({"idleTimeout": "2h"}));
    second.await_message(LEADING);
    namespace.await_published("p");
    let transitions = || {
        lease(&deployment)
            .spec
            .and_then(|spec| spec.lease_transitions)
    };
    assert_eq!(transitions(), Some(1));
    // One that stops gives the lease back.
    second.stop();
    let holder = lease(&deployment)
        .spec
        .and_then(|spec| spec.holder_identity);
    assert_eq!(holder, None);
    assert_eq!(deployment.records().len(), 2);
}

pub fn a_leader_that_was_frozen_writes_nothing_when_it_thaws(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let mut first = deployment.controller();
    first.await_message(LEADING);
    namespace.apply("p", &json!({"idleTimeout": "1h"}));
    namespace.await_published("p");
    let second = deployment.controller();
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
    assert_eq!(deployment.records().len(), 4);
}

pub fn a_lease_that_is_deleted_is_made_again(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let first = deployment.controller();
    first.await_message(LEADING);
    let second = deployment.controller();
    second.await_ready();
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), &namespace.name);
    let deleted = cluster.wait(leases.delete("sundown-controller", &DeleteParams::default()));
    deleted.expect("the lease is deleted");
    eventually(SOON, "another lease", || {
        cluster
            .wait(leases.get_opt("sundown-controller"))
            .expect("an answer")
    });
    namespace.apply("p", &json!({"idleTimeout": "1h"}));
    namespace.await_published("p");
    let leaders = [&first, &second].map(|one| one.metric("sundown_controller_leader", ""));
    assert_eq!(leaders.iter().sum::<u64>(), 1);
    assert_eq!(deployment.records().len(), 1);
    second.stop();
    first.stop();
}

pub fn two_releases_distinguish_their_policies(cluster: &Cluster) {
    let (one, other) = (Deployment::new(cluster), Deployment::new(cluster));
    let namespace = &one.namespace;
    let start = |deployment: &Deployment<'_>, selector: Option<&str>| {
        let launch = deployment.launch().env("KUBECONFIG", &cluster.kubeconfig);
        let launch = launch.args(["--namespace", &namespace.name]);
        let selector = selector.map(|selector| format!("--policy-selector={selector}"));
        RoleProcess::start(launch.args(selector))
    };
    // A tracker of one of them, so that their statuses of a policy differ.
    let tracker = one.installation.tracker(&[]);
    namespace.apply("p", &json!({"idleTimeout": "1h"}));
    let (first, second) = (start(&one, None), start(&other, None));
    eventually(SOON, "an end of the quarrel", || {
        let backed_off = |controller: &RoleProcess| controller.log().contains("--policy-selector");
        (backed_off(&first) || backed_off(&second)).then_some(())
    });
    second.stop();

    let second = start(&other, Some("release=other"));
    second.await_message(LEADING);
    eventually(SOON, "the tombstone of what it no longer selects", || {
        other.published().is_empty().then_some(())
    });
    assert!(one.published().contains_key(&namespace.key("p")));
    second.stop();
    first.stop();
    tracker.stop();
}

fn lease(deployment: &Deployment<'_>) -> Lease {
    let cluster = deployment.namespace.cluster;
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), &deployment.namespace.name);
    cluster
        .wait(api.get("sundown-controller"))
        .expect("the lease")
}
