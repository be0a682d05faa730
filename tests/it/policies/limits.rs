//! Limits on the policies of namespaces.

use std::fs;

use serde_json::{Value, json};

use crate::monitoring::apiserver::ApiServer;
use crate::support::installation::{Installation, SHORT, SOON};
use crate::support::kafka::Kafka;
use crate::support::process::Launch;
use crate::support::role::RoleProcess;
use crate::support::wait::eventually;

use super::Output;

const LIMITS: &str = "
shop: {match: {attributes: {tenant: shop}}, maxPriority: 99, actions: [audit, mail]}
'*': {maxPriority: 0}
";

#[test]
fn a_policy_beyond_the_limits_of_its_namespace_is_not_published() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let api = ApiServer::start("shop");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("limits.yaml");
    fs::write(&file, LIMITS).expect("a file");
    let launch = installation.sundown(&["controller"]);
    let launch = launch.arg("--namespace-limits").arg(&file);
    let launch = launch.env("KUBECONFIG", api.kubeconfig());
    let controller = RoleProcess::start(launch);
    controller.await_ready();
    let await_ready = |status: &str, reason: &str, words: &str| {
        eventually(SOON, &format!("{status} {reason} {words}"), || {
            let [found, why, message] = api.condition("p", "Ready")?;
            (found == status && why == reason && message.contains(words)).then_some(())
        });
    };
    let published = || {
        let records = installation.read("sundown.policies");
        let specs = records.iter().map(|record| record.json()["spec"].clone());
        specs.collect::<Vec<Value>>()
    };

    let own = json!({"attributes": {"tenant": "shop"}});
    api.apply("p", &json!({"idleTimeout": "1h", "actions": ["mail"]}));
    await_ready("False", "NotPermitted", "tenant: shop");
    api.apply(
        "p",
        &json!({"idleTimeout": "1h", "match": own, "actions": ["page"]}),
    );
    await_ready("False", "NotPermitted", "not page");
    assert!(published().is_empty(), "{:?}", published());

    let within = json!({"idleTimeout": "1h", "match": own, "priority": 99, "actions": ["mail"]});
    api.apply("p", &within);
    await_ready("True", "Published", "");
    // What is within the limits stays active.
    let mut beyond = within;
    beyond["priority"] = json!(100);
    api.apply("p", &beyond);
    await_ready("False", "NotPermitted", "at most 99");
    let published = published();
    assert_eq!(published.len(), 1, "{published:?}");
    assert_eq!(published[0]["priority"], 99);
    controller.stop();
}

#[test]
fn a_controller_does_not_start_with_limits_that_it_cannot_read() {
    let api = ApiServer::start("shop");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("limits.yaml");
    fs::write(&file, "shop: {priority: 1}").expect("a file");
    let launch = Launch::sundown().args(["controller", "-b", "127.0.0.1:1"]);
    let launch = launch.arg("--namespace-limits").arg(&file);
    let launch = launch.env("KUBECONFIG", api.kubeconfig());
    Output::of(launch).failed(&["check --namespace-limits", "priority"]);
}
