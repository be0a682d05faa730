//! `helm test` on a Kafka of Strimzi: it names the resources that are not ready.

use serde_json::{Value, json};

use crate::helm::{BROKERS, STRIMZI};
use crate::objects::{of_kind, with_values};

const NAME: &str = "demo-sundown-check-strimzi";

fn named<'a>(objects: &'a [Value], kind: &str) -> Option<&'a Value> {
    let mut found = of_kind(objects, kind).into_iter();
    found.find(|object| object["metadata"]["name"] == NAME)
}

#[test]
fn a_test_lists_the_resources_of_the_release_before_the_test_that_needs_their_secrets() {
    let Some(objects) = with_values(&[STRIMZI, "networkPolicy.enabled=true"]) else {
        return;
    };
    let pod = named(&objects, "Pod").unwrap();
    let container = &pod["spec"]["containers"][0];
    let labels = "app.kubernetes.io/name=sundown,app.kubernetes.io/instance=demo";
    assert_eq!(
        container["args"],
        json!(["check", "--timeout", "60s", "--strimzi", labels])
    );
    // No secret of a KafkaUser that may not exist.
    assert_eq!(pod["spec"]["volumes"], Value::Null);
    assert_eq!(container["env"], Value::Null);
    for kind in ["KafkaUser", "KafkaTopic"] {
        let resources = of_kind(&objects, kind);
        assert!(!resources.is_empty());
        for resource in resources {
            let labels = &resource["metadata"]["labels"];
            assert_eq!(labels["app.kubernetes.io/name"], "sundown");
            assert_eq!(labels["app.kubernetes.io/instance"], "demo");
        }
    }

    assert_eq!(pod["spec"]["serviceAccountName"], NAME);
    assert_eq!(pod["spec"]["automountServiceAccountToken"], true);
    let role = named(&objects, "Role").unwrap();
    assert_eq!(
        role["rules"],
        json!([{
            "apiGroups": ["kafka.strimzi.io"],
            "resources": ["kafkausers", "kafkatopics"],
            "verbs": ["list"],
        }])
    );
    let binding = named(&objects, "RoleBinding").unwrap();
    assert_eq!(binding["subjects"][0]["name"], NAME);
    let weight = |pod: &Value| {
        let annotations = &pod["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/hook"], "test");
        let weight = annotations["helm.sh/hook-weight"].as_str();
        weight.map_or(0, |weight| weight.parse().unwrap())
    };
    let mut pods = of_kind(&objects, "Pod").into_iter();
    let other = pods.find(|pod| pod["metadata"]["name"] == "demo-sundown-check");
    assert!(weight(pod) < weight(other.unwrap()));
    for kind in ["ServiceAccount", "Role", "RoleBinding"] {
        let hook = &named(&objects, kind).unwrap()["metadata"]["annotations"];
        assert_eq!(*hook, Value::Null, "{kind}");
    }

    // The policy of the test's pods lets this one reach the API server.
    let component = "app.kubernetes.io/component";
    assert_eq!(pod["metadata"]["labels"][component], "check");
    assert!(ports_of_tests(&objects).contains(&json!(6443)));
}

#[test]
fn without_resources_of_strimzi_there_is_no_such_test() {
    let other = "kafka.strimzi.users.create=false";
    let none = [STRIMZI, other, "kafka.strimzi.topics.create=false"];
    for values in [&[BROKERS][..], &none] {
        let values = [values, &["networkPolicy.enabled=true"]].concat();
        let Some(objects) = with_values(&values) else {
            return;
        };
        for kind in ["Pod", "ServiceAccount", "Role", "RoleBinding"] {
            assert!(named(&objects, kind).is_none(), "{values:?}: {kind}");
        }
        assert!(!ports_of_tests(&objects).contains(&json!(6443)));
    }
    let topics = with_values(&[STRIMZI, other]).unwrap();
    assert!(named(&topics, "Pod").is_some());
}

/// The ports that the network policy of the test's pods opens.
fn ports_of_tests(objects: &[Value]) -> Vec<Value> {
    let mut policies = of_kind(objects, "NetworkPolicy").into_iter();
    let own = policies.find(|policy| policy["metadata"]["name"] == "demo-sundown-check");
    let ports = own.unwrap()["spec"]["egress"][0]["ports"].as_array();
    let ports = ports.unwrap().iter().map(|port| port["port"].clone());
    ports.collect()
}
