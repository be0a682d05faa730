//! Outages of Kafka and of the API server.

use std::process::Command;

use serde_json::json;

use super::cluster::{Cluster, SOON};
use super::deployment::Deployment;
use crate::support::kafka::Kafka;
use crate::support::wait::eventually;

pub fn while_kafka_is_down_conditions_show_it(cluster: &Cluster) {
    let kafka = Kafka::own(1);
    let deployment = Deployment::on(cluster, &kafka);
    let namespace = &deployment.namespace;
    let controller = deployment.controller();
    namespace.apply("p", &json!({"idleTimeout": "1h"}));
    namespace.await_published("p");
    kafka.kill(1);
    controller.await_unready("kafka", "sundown.policies");
    namespace.await_condition("p", "Distributed", "Unknown", "KafkaUnavailable");
    // What was published is published.
    namespace.await_published("p");
    namespace.apply("p", &json!({"idleTimeout": "2h"}));
    namespace.await_condition("p", "Ready", "False", "KafkaUnavailable");
    kafka.start(1);
    namespace.await_published("p");
    namespace.await_condition("p", "Distributed", "Unknown", "NoTrackers");
    controller.await_ready();
    assert_eq!(
        deployment.published()[&namespace.key("p")]["spec"]["idleTimeout"],
        "2h"
    );
    assert_eq!(deployment.records().len(), 2);
    controller.stop();
}

/// With the command that `SUNDOWN_TEST_APISERVER_RESTART` gives; without, it is skipped.
pub fn an_api_server_that_restarts_is_waited_for(cluster: &Cluster) {
    let Ok(restart) = std::env::var("SUNDOWN_TEST_APISERVER_RESTART") else {
        super::skipped(
            "an_api_server_that_restarts_is_waited_for: no SUNDOWN_TEST_APISERVER_RESTART",
        );
        return;
    };
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let controller = deployment.controller();
    namespace.apply("p", &json!({"idleTimeout": "1h"}));
    namespace.await_published("p");
    let restarted = Command::new("sh").args(["-c", &restart]).status();
    assert!(restarted.expect("a shell").success(), "{restart}");
    eventually(SOON, "the API server", || {
        cluster.wait(namespace.api().get("p")).ok()
    });
    namespace.apply("p", &json!({"idleTimeout": "2h"}));
    namespace.await_published("p");
    controller.await_ready();
    assert_eq!(deployment.records().len(), 2);
    controller.stop();
}
