//! The permissions that the chart renders.

use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use super::acls::Permission;
use super::broker::{Authentication, user};

/// The topic that ingest reads.
pub const SOURCE_TOPIC: &str = "access";

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/sundown");

/// What a role may do; none if there is no helm here.
pub fn permissions(
    role: &str,
    authentication: Authentication,
    prefix: &str,
) -> Option<Vec<Permission>> {
    let name = user(role);
    let user = rendered(authentication, prefix)?
        .into_iter()
        .find(|user| user["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("the chart has no KafkaUser {name}"));
    assert_eq!(
        user["spec"]["authentication"]["type"],
        authentication.name()
    );
    let principal = authentication.principal(&name);
    let rules = user["spec"]["authorization"]["acls"].as_array();
    let rules = rules.expect("rules").iter();
    Some(
        rules
            .flat_map(|rule| Permission::of_rule(&principal, rule))
            .collect(),
    )
}

/// The KafkaUsers.
fn rendered(authentication: Authentication, prefix: &str) -> Option<Vec<Value>> {
    let output = Command::new("helm")
        .args([
            "template",
            "site",
            CHART,
            "--set",
            "kafka.strimzi.cluster=my-cluster",
        ])
        .args(["--set", "console.authTokenSecret=token"])
        .args(["--set", "ingest.enabled=true"])
        .args([
            "--set",
            &format!("ingest.sourceTopics={{{prefix}{SOURCE_TOPIC}}}"),
        ])
        .args([
            "--set",
            &format!("kafka.strimzi.authentication={}", authentication.name()),
        ])
        .args(["--set", &format!("kafka.topicPrefix={prefix}")])
        .args(["--show-only", "templates/strimzi-users.yaml"])
        .output();
    let Ok(output) = output else {
        let required = std::env::var_os("SUNDOWN_TEST_REQUIRE_HELM").is_some();
        assert!(!required, "no helm on the PATH");
        eprintln!("SKIPPED: helm is not installed, so the chart's permissions are unknown");
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("a text");
    let documents = serde_yaml::Deserializer::from_str(&text);
    Some(
        documents
            .map(|document| Value::deserialize(document).expect("YAML"))
            .collect(),
    )
}
