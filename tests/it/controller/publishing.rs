//! From the API server to the policy topic.

use k8s_openapi::api::events::v1::Event;
use kube::api::Api;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};
use sundown::policy::crd::definition::definition;

use super::cluster::{Cluster, SOON};
use super::deployment::Deployment;
use crate::support::kafka::Kafka;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

pub fn what_is_applied_edited_and_deleted_is_in_the_topic(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let controller = deployment.controller();
    namespace.apply(
        "mobile",
        &json!({"idleTimeout": "15m", "match": {"attributes": {"client": "mobile"}}}),
    );
    namespace.await_published("mobile");
    let key = namespace.key("mobile");
    let expected = json!({
        "apiVersion": "sundown.dev/v1alpha1", "kind": "SessionPolicy",
        "metadata": {"name": "mobile", "namespace": namespace.name, "generation": 1},
        "spec": {"idleTimeout": "15m", "priority": 0, "suspend": false, "match": {"attributes": {"client": "mobile"}}},
    });
    assert_eq!(deployment.published()[&key], expected);
    namespace.await_condition("mobile", "Distributed", "Unknown", "NoTrackers");
    controller.await_ready();

    namespace.apply("mobile", &json!({"idleTimeout": "20s"}));
    namespace.await_published("mobile");
    let edited = &deployment.published()[&key];
    assert_eq!(edited["metadata"]["generation"], 2);
    assert_eq!(edited["spec"]["idleTimeout"], "20s");
    let labels = format!("policy=\"{key}\"");
    assert_eq!(controller.metric("sundown_policy_generation", &labels), 2);

    namespace.delete("mobile");
    eventually(SOON, "the tombstone", || {
        deployment.published().is_empty().then_some(())
    });
    eventually(SOON, "the end of the policy's metrics", || {
        (controller.metric("sundown_policy_ready", "") == 0).then_some(())
    });
    // Nothing but those three, however often it has looked meanwhile; nor does a second start
    // add anything.
    assert_eq!(deployment.records().len(), 3);
    controller.stop();
    namespace.apply("other", &json!({"idleTimeout": "1h"}));
    let controller = deployment.controller();
    namespace.await_published("other");
    controller.stop();
    let controller = deployment.controller();
    namespace.apply("another", &json!({"idleTimeout": "1h", "priority": 1}));
    namespace.await_published("another");
    assert_eq!(deployment.records().len(), 5);
    controller.stop();
}

pub fn what_is_invalid_never_replaces_what_is_valid(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let controller = deployment.controller();
    namespace.apply("p", &json!({"idleTimeout": "1h"}));
    namespace.await_published("p");
    let before = deployment.published();
    // 1,000 characters pass the definition's rule; in bytes they are twice as many.
    let attributes = json!({"tenant": "ü".repeat(1_000)});
    namespace.apply(
        "p",
        &json!({"idleTimeout": "2h", "match": {"attributes": attributes}}),
    );
    let message = namespace.await_condition("p", "Ready", "False", "Invalid");
    assert!(message.contains("spec.match.attributes"), "{message}");
    assert!(message.contains("generation 1 stays active"), "{message}");
    assert_eq!(deployment.published(), before);
    let note = await_event(&deployment, "p", "Invalid");
    assert_eq!(note, message);
    namespace.apply("p", &json!({"idleTimeout": "2h"}));
    namespace.await_published("p");
    assert_eq!(
        deployment.published()[&namespace.key("p")]["metadata"]["generation"],
        3
    );
    controller.stop();
}

pub fn a_topic_that_is_made_again_gets_each_policy_once(cluster: &Cluster) {
    let kafka = Kafka::own(1);
    let deployment = Deployment::on(cluster, &kafka);
    let namespace = &deployment.namespace;
    let controller = deployment.controller();
    let names = ["a", "b", "c"];
    for name in names {
        namespace.apply(name, &json!({"idleTimeout": "1h"}));
        namespace.await_published(name);
    }
    let topic = deployment.installation.topic("sundown.policies");
    let admin: AdminClient<DefaultClientContext> = kafka.client().create().expect("a client");
    let deleted = cluster.wait(admin.delete_topics(&[&topic], &AdminOptions::new()));
    deleted.expect("an answer")[0].as_ref().expect("deleted");
    eventually(SOON, "the topic to be made again", || {
        let mut create = deployment
            .installation
            .sundown(&["topics", "create"])
            .start();
        create.wait(SOON).success().then_some(())
    });
    eventually(SOON, "all policies", || {
        (deployment.published().len() == names.len()).then_some(())
    });
    // Another edit shows that the controller has gone through all of them again.
    namespace.apply("a", &json!({"idleTimeout": "2h"}));
    eventually(SOON, "the edit", || {
        let published = deployment.published();
        (published[&namespace.key("a")]["spec"]["idleTimeout"] == "2h").then_some(())
    });
    assert_eq!(deployment.records().len(), names.len() + 1);
    controller.stop();
}

pub fn drift_is_repaired_at_the_start_and_while_it_runs(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let controller = deployment.controller();
    for name in ["stays", "goes"] {
        namespace.apply(name, &json!({"idleTimeout": "1h"}));
        namespace.await_published(name);
    }
    let good = deployment.published()[&namespace.key("stays")].clone();
    controller.stop();

    namespace.delete("goes");
    let topic = deployment.installation.topic("sundown.policies");
    let write = |key: &str, value: &str| {
        let written = deployment
            .installation
            .kafka
            .produce(&topic, [NewRecord::new(key, value)]);
        assert_eq!(written.len(), 1);
    };
    write(&namespace.key("stays"), r#"{"tampered": true}"#);
    write(&namespace.key("never-was"), "{}");
    write("default", "of the command line");
    write("elsewhere/policy", "of another controller");
    let controller = deployment.controller();
    let repaired = || {
        // Keys of others are not JSON: they are looked at as they are.
        let mut left = std::collections::BTreeMap::new();
        for record in deployment.records() {
            let key = String::from_utf8(record.key.expect("a key")).expect("a text");
            left.insert(key, record.value);
        }
        left.retain(|_, value| value.is_some());
        left.into_iter()
            .map(|(key, value)| {
                (
                    key,
                    value.map(|value| String::from_utf8(value).expect("a text")),
                )
            })
            .collect::<Vec<_>>()
    };
    let as_it_should_be = || {
        let left = repaired();
        let keys: Vec<_> = left.iter().map(|(key, _)| key.as_str()).collect();
        let stays = namespace.key("stays");
        let mut expected = vec!["default", "elsewhere/policy", &stays];
        expected.sort_unstable();
        let value = left.iter().find(|(key, _)| *key == stays)?.1.as_deref()?;
        let value: Value = serde_json::from_str(value).ok()?;
        (keys == expected && value == good).then_some(())
    };
    eventually(SOON, "the topic to be repaired", as_it_should_be);
    let records = deployment.records().len();
    write(&namespace.key("stays"), "{}");
    write(&namespace.key("never-was"), "{}");
    deployment.await_records(records + 4);
    eventually(SOON, "the topic to be repaired again", as_it_should_be);
    assert_eq!(deployment.records().len(), records + 4);
    controller.stop();
}

pub fn a_malformed_object_does_not_stop_the_others_from_being_published(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    // As it may have been before the definition that this release brings.
    let mut loose = serde_json::to_value(definition()).unwrap();
    let schema =
        &mut loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    *schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    cluster.install(&serde_json::from_value(loose).unwrap());
    eventually(SOON, "the loose definition to be served", || {
        namespace.try_apply(&json!({"idleTimeout": 5})).ok()
    });
    namespace.apply("malformed", &json!({"idleTimeout": {"minutes": 5}}));
    cluster.install(&definition());
    eventually(SOON, "the definition to be served", || {
        namespace.try_apply(&json!({"idleTimeout": 5})).err()
    });
    namespace.apply("before", &json!({"idleTimeout": "1h"}));
    let controller = deployment.controller();
    namespace.await_published("before");
    namespace.apply("after", &json!({"idleTimeout": "1h", "priority": 1}));
    namespace.await_published("after");
    // It cannot hold a status, so there is an event.
    let note = await_event(&deployment, "malformed", "Invalid");
    assert!(note.contains("apply the policy again"), "{note}");
    let labels = format!("policy=\"{}\"", namespace.key("malformed"));
    assert_eq!(controller.value("sundown_policy_ready", &labels), Some(0.0));
    assert_eq!(deployment.published().len(), 2);
    controller.stop();
}

/// Waits for an event about a policy; its note.
fn await_event(deployment: &Deployment<'_>, policy: &str, reason: &str) -> String {
    let namespace = &deployment.namespace;
    eventually(SOON, &format!("{reason} of {policy}"), || {
        let api: Api<Event> = Api::namespaced(namespace.cluster.client.clone(), &namespace.name);
        let events = namespace.cluster.wait(api.list(&Default::default())).ok()?;
        let event = events.into_iter().find(|event| {
            let about = event
                .regarding
                .as_ref()
                .and_then(|object| object.name.as_deref());
            event.reason.as_deref() == Some(reason) && about == Some(policy)
        })?;
        event.note
    })
}
