//! The session limit of users, from the API server to the endings.

use serde_json::json;

use super::cluster::{Cluster, SOON};
use super::deployment::Deployment;
use crate::pipeline::limits::{FIRST_TWO, log_in};
use crate::support::role::RoleProcess;
use crate::support::wait::eventually;

pub fn a_limit_reaches_trackers_that_route_by_user(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let by_user = ["--routing-key", "user_id"];
    let launch = deployment.launch().args(by_user);
    let controller = RoleProcess::start(launch.env("KUBECONFIG", &cluster.kubeconfig));
    namespace.apply("two", &json!({"idleTimeout": "1h", "maxSessions": 2}));
    namespace.await_published("two");
    let published = &deployment.published()[&namespace.key("two")];
    assert_eq!(published["spec"]["maxSessions"], 2);

    let tracker = deployment.installation.tracker(&by_user);
    tracker.await_ready();
    log_in(&deployment.installation);
    let endings = eventually(SOON, "the ends of two sessions", || {
        let endings = deployment.installation.endings();
        (endings.len() >= FIRST_TWO.len()).then_some(endings)
    });
    let mut ended: Vec<(&str, &str)> = endings
        .iter()
        .map(|one| (one.session.as_str(), one.reason.as_str()))
        .collect();
    ended.sort_unstable();
    assert_eq!(ended, FIRST_TWO.map(|session| (session, "session_limit")));
    tracker.stop();
    controller.stop();
}

pub fn a_controller_without_routing_by_user_rejects_a_limit(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let controller = deployment.controller();
    namespace.apply("two", &json!({"idleTimeout": "1h", "maxSessions": 2}));
    let message = namespace.await_condition("two", "Ready", "False", "Invalid");
    for words in [
        "spec.maxSessions",
        "--routing-key user_id",
        "tracker.routingKey",
    ] {
        assert!(message.contains(words), "{message}");
    }
    assert!(deployment.published().is_empty());
    namespace.apply("two", &json!({"idleTimeout": "1h"}));
    namespace.await_published("two");
    controller.stop();
}
