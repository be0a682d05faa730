//! How the pods authenticate to Kafka: secrets become files.

use serde_json::{Value, json};

use crate::helm::{BROKERS, STRIMZI};
use crate::objects::{deployment, of_kind, variable, with_values};

const TOKEN_URL: &str = "kafka.sasl.oauth.tokenUrl=https://idp.example/token";

/// What a tracker's pod has of the connection, and what KEDA has of it.
fn connection(objects: &[Value]) -> String {
    let pod = &deployment(objects, "tracker")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let of_kafka = |list: &Value, part: &str| -> Vec<Value> {
        let list = list.as_array().into_iter().flatten();
        let mut list: Vec<_> = list.cloned().collect();
        list.retain(|item| item["name"].as_str().unwrap().contains(part));
        list
    };
    let parts = ["SASL", "OAUTH", "PROPERT"].map(|part| of_kafka(&container["env"], part));
    let triggers = of_kind(objects, "ScaledObject");
    let triggers = triggers
        .iter()
        .map(|scaled| &scaled["spec"]["triggers"][0]["metadata"]["sasl"]);
    let authentication = of_kind(objects, "TriggerAuthentication");
    let shown = json!({
        "env": parts.concat(),
        "volumeMounts": of_kafka(&container["volumeMounts"], "kafka"),
        "volumes": of_kafka(&pod["volumes"], "kafka"),
        "keda": triggers.collect::<Vec<_>>(),
        "triggerAuthentication": authentication.iter().map(|object| &object["spec"]).collect::<Vec<_>>(),
    });
    serde_yaml::to_string(&shown).unwrap()
}

#[test]
fn tokens_and_passwords_come_from_secrets() {
    for (name, values) in [
        (
            "tokens",
            &[
                "kafka.sasl.mechanism=OAUTHBEARER",
                TOKEN_URL,
                "kafka.sasl.oauth.clientId=sundown",
                "kafka.sasl.oauth.secret=identity",
                "kafka.sasl.oauth.scope=kafka",
                "kafka.sasl.oauth.caSecret=idp-ca",
            ][..],
        ),
        (
            "client_id_of_a_secret",
            &[
                "kafka.sasl.mechanism=OAUTHBEARER",
                TOKEN_URL,
                "kafka.sasl.oauth.clientIdKey=id",
                "kafka.sasl.oauth.secret=identity",
                "kafka.sasl.oauth.secretKey=password",
            ],
        ),
        (
            "user_of_a_secret",
            &[
                "kafka.sasl.mechanism=PLAIN",
                "kafka.sasl.usernameKey=key",
                "kafka.sasl.passwordSecret=api-key",
                "kafka.sasl.passwordKey=secret",
                r"kafka.secretProperties.ssl\.key\.password.secret=key",
                r"kafka.secretProperties.ssl\.key\.password.key=passphrase",
            ],
        ),
    ] {
        let keda = "autoscaling.tracker.mode=keda";
        let Some(objects) = with_values(&[&[BROKERS, keda], values].concat()) else {
            return;
        };
        insta::with_settings!({snapshot_path => "snapshots"}, {
            insta::assert_snapshot!(name, connection(&objects));
        });
    }
}

#[test]
fn a_network_policy_lets_pods_reach_the_token_endpoint() {
    for (url, port) in [
        ("https://idp.example/token", 443),
        ("http://idp.example/token", 80),
        ("https://idp.example:8443/token", 8443),
    ] {
        let url = format!("kafka.sasl.oauth.tokenUrl={url}");
        let Some(objects) = with_values(&[
            BROKERS,
            "networkPolicy.enabled=true",
            "kafka.sasl.mechanism=OAUTHBEARER",
            "kafka.sasl.oauth.clientId=sundown",
            "kafka.sasl.oauth.secret=identity",
            &url,
        ]) else {
            return;
        };
        for policy in of_kind(&objects, "NetworkPolicy") {
            let ports = policy["spec"]["egress"][0]["ports"].as_array();
            let reached = ports.is_none_or(|all| all.iter().any(|one| one["port"] == port));
            assert!(reached, "{policy}");
        }
    }
}

/// Strimzi manages the permissions of a user that the listener knows from its token.
#[test]
fn under_strimzi_each_role_is_a_client() {
    let oauth = "kafka.strimzi.authentication=oauth";
    let Some(objects) = with_values(&[STRIMZI, oauth, TOKEN_URL]) else {
        return;
    };
    let users = of_kind(&objects, "KafkaUser");
    assert_eq!(users.len(), 5);
    for user in users {
        assert_eq!(user["spec"]["authentication"], Value::Null);
        assert_eq!(user["spec"]["authorization"]["type"], "simple");
    }
    for role in ["tracker", "handler", "controller", "console"] {
        let deployment = deployment(&objects, role);
        let name = deployment["metadata"]["name"].as_str();
        assert_eq!(variable(deployment, "SUNDOWN_OAUTH_CLIENT_ID"), name);
        let volumes = deployment["spec"]["template"]["spec"]["volumes"].as_array();
        let mut volumes = volumes.unwrap().iter();
        let secret = volumes.find(|volume| volume["name"] == "kafka-oauth");
        assert_eq!(secret.unwrap()["secret"]["secretName"].as_str(), name);
    }
    let open = with_values(&[
        STRIMZI,
        oauth,
        TOKEN_URL,
        "kafka.strimzi.authorization=none",
    ]);
    assert!(of_kind(&open.unwrap(), "KafkaUser").is_empty());
}
