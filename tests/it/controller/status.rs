//! The status of policies.

use serde_json::json;

use super::cluster::{Cluster, SOON, TestNamespace};
use super::deployment::Deployment;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

pub fn competing_policies_have_a_condition(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let controller = deployment.controller();
    namespace.apply("all", &json!({"idleTimeout": "1h"}));
    namespace.apply(
        "acme",
        &json!({"idleTimeout": "1h", "match": {"attributes": {"tenant": "acme"}}}),
    );
    namespace.apply("umbrella", &json!({"idleTimeout": "1h", "priority": 1, "match": {"attributes": {"tenant": "umbrella"}}}));
    let message = namespace.await_condition("acme", "Ambiguous", "True", "EqualPriority");
    assert!(message.starts_with(&namespace.key("all")), "{message}");
    namespace.await_condition("all", "Ambiguous", "True", "EqualPriority");
    namespace.await_condition("umbrella", "Ambiguous", "False", "Distinct");
    namespace.await_published("acme");
    namespace.apply("all", &json!({"idleTimeout": "1h", "priority": -1}));
    namespace.await_condition("acme", "Ambiguous", "False", "Distinct");
    controller.stop();
}

pub fn trackers_and_sessions_are_counted(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let controller = deployment.controller();
    namespace.apply("p", &json!({"idleTimeout": "1h"}));
    let first = deployment.installation.tracker(&[]);
    await_status(namespace, "trackers", &json!("1/1"));
    namespace.await_condition("p", "Distributed", "True", "AllTrackers");
    let second = deployment.installation.tracker(&[]);
    await_status(namespace, "trackers", &json!("2/2"));

    let now = sundown::clock::Clock::default().wall().as_millis();
    let events = (0..25).map(|number| {
        let session = format!("session-{number}");
        let event = json!({"user_id": number, "session_id": session, "activity_timestamp": now});
        NewRecord::new(session, event.to_string())
    });
    let topic = deployment.installation.session_logs();
    deployment.installation.kafka.produce(&topic, events);
    await_status(namespace, "sessions", &json!(25));

    namespace.apply("p", &json!({"idleTimeout": "2h"}));
    let message = namespace.await_condition("p", "Distributed", "True", "AllTrackers");
    assert!(message.contains("generation 2"), "{message}");
    await_status(namespace, "trackers", &json!("2/2"));
    // One that dies without a word is missed after a while.
    second.kill();
    await_status(namespace, "trackers", &json!("1/1"));
    await_status(namespace, "sessions", &json!(25));
    first.stop();
    namespace.await_condition("p", "Distributed", "Unknown", "NoTrackers");
    controller.stop();
}

fn await_status(namespace: &TestNamespace<'_>, field: &str, value: &serde_json::Value) {
    eventually(SOON, &format!("{field} of {value}"), || {
        (&namespace.get("p")["status"][field] == value).then_some(())
    });
}
