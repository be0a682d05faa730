//! The rights that the chart gives to the controller.

use std::process::Command;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::cluster::{Cluster, SOON};
use super::deployment::Deployment;
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/sundown");

/// More bytes than attributes may have, in characters that the definition lets pass.
fn too_large(text: &str) -> Value {
    json!({"idleTimeout": "1h", "match": {"attributes": {"tenant": text.repeat(1_000)}}})
}

pub fn the_charts_role_is_enough(cluster: &Cluster) {
    let Some(rendered) = rendered("the_charts_role_is_enough") else {
        return;
    };
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let Rightful {
        controller,
        _kubeconfig,
    } = start(&deployment, &rendered(&namespace.name));
    namespace.apply("p", &json!({"idleTimeout": "1h"}));
    namespace.await_published("p");
    namespace.apply_source("s", &source());
    namespace.await_source("s", "Ready", "True", "Published");
    for text in ["ü", "ö"] {
        namespace.apply("p", &too_large(text));
        namespace.await_condition("p", "Ready", "False", "Invalid");
    }
    namespace.apply("p", &json!({"idleTimeout": "2h"}));
    namespace.await_published("p");
    assert!(
        !controller.log().contains("orbidden"),
        "{}",
        controller.log()
    );
    controller.stop();
}

pub fn each_verb_of_the_role_is_needed(cluster: &Cluster) {
    let Some(rendered) = rendered("each_verb_of_the_role_is_needed") else {
        return;
    };
    let rendered = |namespace: &str| {
        let mut objects = rendered(namespace);
        by_resource(&mut objects);
        objects
    };
    let all = verbs(&rendered("any"));
    assert!(all.len() >= 9, "{all:?}");
    for (role, rule, verb) in all {
        let deployment = Deployment::new(cluster);
        let namespace = &deployment.namespace;
        let mut objects = rendered(&namespace.name);
        let rules = objects[role]["rules"].as_array_mut().expect("rules");
        let without = format!("{} without {verb}", rules[rule]["resources"]);
        let verbs = rules[rule]["verbs"].as_array_mut().expect("verbs");
        verbs.retain(|given| given != &verb);
        // A rule has to have verbs.
        if verbs.is_empty() {
            rules.remove(rule);
        }
        let Rightful {
            controller,
            _kubeconfig,
        } = start(&deployment, &objects);
        let mut texts = ["ü", "ö"].into_iter().cycle();
        eventually(SOON, &format!("an error: {without}"), || {
            namespace.apply("p", &too_large(texts.next()?));
            namespace.apply_source("s", &source());
            controller.log().contains("orbidden").then_some(())
        });
        controller.stop();
    }
}

pub fn without_its_lease_a_controller_is_not_ready(cluster: &Cluster) {
    let Some(rendered) = rendered("without_its_lease_a_controller_is_not_ready") else {
        return;
    };
    let deployment = Deployment::new(cluster);
    let mut objects = rendered(&deployment.namespace.name);
    for rule in objects
        .iter_mut()
        .filter_map(|object| object.get_mut("rules")?.as_array_mut())
    {
        rule.retain(|rule| {
            rule["verbs"] != json!(["create"]) || rule["resources"] != json!(["leases"])
        });
    }
    let Rightful {
        controller,
        _kubeconfig,
    } = start(&deployment, &objects);
    controller.await_unready("lease", "orbidden");
    controller.stop();
}

/// One whose role is gone with it.
pub fn a_namespace_that_is_gone_holds_up_no_other(cluster: &Cluster) {
    let Some(rendered) = rendered("a_namespace_that_is_gone_holds_up_no_other") else {
        return;
    };
    let deployment = Deployment::new(cluster);
    let namespace = &deployment.namespace;
    let topic = deployment.installation.topic("sundown.policies");
    let left = [NewRecord::new("sundown-gone/p", "{}")];
    assert_eq!(deployment.installation.kafka.produce(&topic, left).len(), 1);
    let kubeconfig = install(&deployment, &rendered(&namespace.name));
    let launch = deployment.launch().env("KUBECONFIG", kubeconfig.path());
    let controller = RoleProcess::start(
        launch
            .args(["--namespace", "sundown-gone"])
            .args(["--lease-name", "deployment-sundown-controller"]),
    );
    namespace.apply("p", &json!({"idleTimeout": "1h"}));
    namespace.await_published("p");
    controller.await_ready();
    let keys: Vec<_> = deployment
        .records()
        .into_iter()
        .map(|record| record.key)
        .collect();
    let expected = ["sundown-gone/p".to_owned(), namespace.key("p")];
    assert_eq!(keys, expected.map(|key| Some(key.into_bytes())));
    assert!(
        controller.log().contains("orbidden"),
        "{}",
        controller.log()
    );
    controller.stop();
}

/// What the chart makes of the controller's rights in a namespace; none without helm.
fn rendered(test: &str) -> Option<impl Fn(&str) -> Vec<Value>> {
    if Command::new("helm").arg("version").output().is_err() {
        let required = std::env::var_os("SUNDOWN_TEST_REQUIRE_HELM").is_some();
        assert!(!required, "no helm on the PATH");
        super::skipped(&format!("{test}: no helm"));
        return None;
    }
    Some(|namespace: &str| {
        let output = Command::new("helm")
            .args(["template", "deployment", CHART, "--namespace", namespace])
            .args(["--set", "kafka.bootstrapServers=kafka:9092"])
            .args(["--show-only", "templates/serviceaccounts.yaml"])
            .args(["--show-only", "templates/controller-rbac.yaml"])
            .output()
            .expect("helm runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).expect("a text");
        serde_yaml::Deserializer::from_str(&text)
            .map(|document| Value::deserialize(document).expect("YAML"))
            // The other roles have accounts too. Argo CD leaves Leases out.
            .filter(|document| {
                let name = document["metadata"]["name"].as_str().unwrap_or_default();
                name.contains("-controller") && document["kind"] != "Lease"
            })
            .collect()
    })
}

/// Each verb, with the numbers of its role and rule.
fn verbs(objects: &[Value]) -> Vec<(usize, usize, Value)> {
    let mut all = Vec::new();
    for (role, object) in objects.iter().enumerate() {
        for (rule, rules) in object["rules"].as_array().into_iter().flatten().enumerate() {
            let verbs = rules["verbs"].as_array().expect("verbs");
            all.extend(verbs.iter().map(|verb| (role, rule, verb.clone())));
        }
    }
    all
}

/// Splits each rule, so that it has one resource.
fn by_resource(objects: &mut [Value]) {
    let rules = objects
        .iter_mut()
        .filter_map(|object| object.get_mut("rules")?.as_array_mut());
    for rules in rules {
        let split = rules.iter().flat_map(|rule| {
            let resources = rule["resources"].as_array().expect("resources");
            resources.iter().map(|resource| {
                let mut one = rule.clone();
                one["resources"] = json!([resource]);
                one
            })
        });
        *rules = split.collect();
    }
}

fn source() -> Value {
    json!({"topics": ["web"], "session": {"id": "value.id", "user": "value.user"}})
}

/// Starts a controller that has the rights that `objects` give, and no others.
fn start(deployment: &Deployment<'_>, objects: &[Value]) -> Rightful {
    let kubeconfig = install(deployment, objects);
    let rules = objects
        .iter()
        .filter_map(|object| object["rules"].as_array());
    let lease = rules
        .flatten()
        .find_map(|rule| rule["resourceNames"][0].as_str());
    let mut launch = deployment.launch().env("KUBECONFIG", kubeconfig.path());
    if let Some(lease) = lease {
        launch = launch.args(["--lease-name", lease]);
    }
    Rightful {
        controller: RoleProcess::start(launch),
        _kubeconfig: kubeconfig,
    }
}

/// A controller, and the file that it reads its rights from again and again.
struct Rightful {
    controller: RoleProcess,
    _kubeconfig: NamedTempFile,
}

/// Installs the objects, and gives a kubeconfig of their service account.
fn install(deployment: &Deployment<'_>, objects: &[Value]) -> NamedTempFile {
    let cluster = deployment.namespace.cluster;
    let mut account = String::new();
    for object in objects {
        let (version, kind) = (text(object, "apiVersion"), text(object, "kind"));
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let name = object["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        let api: Api<DynamicObject> = Api::namespaced_with(
            cluster.client.clone(),
            &deployment.namespace.name,
            &resource,
        );
        let params = PatchParams::apply("sundown-tests");
        cluster
            .wait(api.patch(&name, &params, &Patch::Apply(object)))
            .unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
        if kind == "ServiceAccount" {
            account = name;
        }
    }
    let api: Api<ServiceAccount> =
        Api::namespaced(cluster.client.clone(), &deployment.namespace.name);
    let request = TokenRequest::default();
    let params = PostParams::default();
    let asked = api.create_token_request(&account, &params, &request);
    let answer = cluster.wait(asked).expect("a token");
    let token = answer.status.and_then(|status| status.token);
    with_token(deployment, &token.expect("a token"))
}

/// The tests' kubeconfig, with this token instead of what it has.
fn with_token(deployment: &Deployment<'_>, token: &str) -> NamedTempFile {
    let original =
        std::fs::read_to_string(&deployment.namespace.cluster.kubeconfig).expect("kubeconfig");
    let mut config: Value = serde_yaml::from_str(&original).expect("YAML");
    for user in config["users"].as_array_mut().expect("users") {
        user["user"] = json!({"token": token});
    }
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), config.to_string()).expect("written");
    file
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().expect("a text").to_owned()
}
