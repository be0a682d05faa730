//! The chart on its platforms: umbrella charts, numeric names, IPv6, OpenShift, Strimzi without
//! authorization.

use serde_json::{Value, json};

use crate::helm::{BROKERS, CHART, STRIMZI, helm, template};
use crate::objects::{deployment, objects, of_kind, variable, with_file, with_values};

const TOKEN: &str = "console.authTokenSecret=console";

#[test]
fn numbers_are_rendered_as_digits() {
    let values = json!({
        "kafka": {
            "bootstrapServers": "kafka:9092",
            "properties": {
                "fetch.message.max.bytes": 10_485_760,
                "message.max.bytes": 2_000_000,
                "queue.buffering.max.ms": 0.5,
                "socket.keepalive.enable": true,
            },
        },
        "tracker": {"maxSessions": 20_000_000},
        "autoscaling": {"tracker": {"mode": "keda", "lagThreshold": 5_000_000}},
    });
    let Some(objects) = with_file(&values) else {
        return;
    };
    let tracker = deployment(&objects, "tracker");
    assert_eq!(
        variable(tracker, "SUNDOWN_KAFKA_PROPERTIES"),
        Some(
            "fetch.message.max.bytes=10485760;message.max.bytes=2000000;queue.buffering.max.ms=0.5;socket.keepalive.enable=true"
        )
    );
    assert_eq!(variable(tracker, "SUNDOWN_MAX_SESSIONS"), Some("20000000"));
    let scaled = of_kind(&objects, "ScaledObject")[0];
    assert_eq!(
        scaled["spec"]["triggers"][0]["metadata"]["lagThreshold"],
        "5000000"
    );
}

#[test]
fn what_an_umbrella_chart_passes_on_is_taken() {
    let values = json!({
        "enabled": true,
        "global": {
            "imageRegistry": "registry.example",
            "imagePullSecrets": ["one", {"name": "two"}],
            "anything": {"of": "others"},
        },
        "imagePullSecrets": [{"name": "two"}],
        "kafka": {"bootstrapServers": "kafka:9092"},
    });
    let Some(objects) = with_file(&values) else {
        return;
    };
    for role in ["tracker", "handler", "controller", "console"] {
        let pod = &deployment(&objects, role)["spec"]["template"]["spec"];
        assert_eq!(
            pod["containers"][0]["image"],
            "registry.example/sundown:0.1.0"
        );
        assert_eq!(
            pod["imagePullSecrets"],
            json!([{"name": "two"}, {"name": "one"}])
        );
    }
}

/// A section that is null is refused by the schema, with its name; everything else renders.
#[test]
fn null_stands_for_nothing() {
    let values = std::fs::read_to_string(format!("{CHART}/values.yaml")).unwrap();
    let values: Value = serde_yaml::from_str(&values).unwrap();
    let mut nulls = json!({});
    nullify(&values, &mut nulls);
    // Required: what the program or Kubernetes cannot choose.
    for kept in [
        "/kafka/bootstrapServers",
        "/kafka/strimzi/authentication",
        "/kafka/strimzi/authorization",
        "/kafka/strimzi/port",
        "/kafka/strimzi/topics/partitions",
        "/handler/jwks/port",
        "/admin/port",
        "/networkPolicy/kafkaPorts",
        "/networkPolicy/apiServerPorts",
    ] {
        *nulls.pointer_mut(kept).unwrap() = values.pointer(kept).unwrap().clone();
    }
    nulls["kafka"]["bootstrapServers"] = "kafka:9092".into();
    nulls["autoscaling"] = json!({});
    // Off in the defaults, and on here.
    for enabled in ["controller", "console"] {
        nulls[enabled]["enabled"] = true.into();
    }
    let Some(objects) = with_file(&nulls) else {
        return;
    };
    let tracker = deployment(&objects, "tracker");
    assert_eq!(variable(tracker, "SUNDOWN_IDLE_TIMEOUT"), None);
    assert_eq!(variable(tracker, "SUNDOWN_ADMIN_LISTEN"), Some("[::]:8080"));

    let refused = helm(&[
        "template",
        "demo",
        CHART,
        "--set",
        BROKERS,
        "--set",
        "monitoring=null",
    ]);
    let refusal = String::from_utf8(refused.unwrap().stderr).unwrap();
    assert!(refusal.contains("monitoring"), "{refusal}");
}

/// Every value of a section as null.
fn nullify(values: &Value, nulls: &mut Value) {
    for (key, value) in values.as_object().unwrap() {
        // Values such as resources have keys too, but are no sections.
        let section = value.as_object().is_some_and(|map| !map.is_empty())
            && !["resources", "labels", "pods"].contains(&key.as_str())
            && !key.ends_with("Probe");
        nulls[key] = Value::Null;
        if section {
            nulls[key] = json!({});
            nullify(value, &mut nulls[key]);
        } else if key == "pods" {
            nulls[key] = value.clone();
            for inner in nulls[key].as_object_mut().unwrap().values_mut() {
                *inner = Value::Null;
            }
        }
    }
}

#[test]
fn names_of_digits_stay_strings() {
    let arguments = ["1234567", CHART, "--namespace", "4444412", "--set", STRIMZI];
    let all = [
        "networkPolicy.enabled=true",
        "monitoring.podMonitor.enabled=true",
        "monitoring.prometheusRule.enabled=true",
        "monitoring.dashboards.enabled=true",
        "autoscaling.tracker.mode=keda",
        "autoscaling.handler.mode=hpa",
        "handler.actions.actions[0].name=log",
        "handler.actions.actions[0].type=log",
        "handler.jwks.enabled=true",
        "console.ingress.enabled=true",
        TOKEN,
    ];
    let arguments = all.iter().fold(arguments.to_vec(), |mut arguments, value| {
        arguments.extend(["--set", value]);
        arguments
    });
    let Some(objects) = objects(&arguments) else {
        return;
    };
    for object in &objects {
        let metadata = &object["metadata"];
        let name = metadata["name"].as_str().unwrap();
        // A Service's name has to begin with a letter.
        assert!(
            name.starts_with(|first: char| first.is_ascii_lowercase()),
            "{name}"
        );
        assert_strings(&metadata["labels"], name);
        assert_strings(&metadata["annotations"], name);
        if object["kind"] != "CustomResourceDefinition" {
            assert_eq!(metadata["namespace"], "4444412", "{name}");
        }
        let selector = &object["spec"]["selector"];
        assert_strings(selector.get("matchLabels").unwrap_or(&Value::Null), name);
        assert_strings(&object["spec"]["template"]["metadata"]["labels"], name);
    }
}

fn assert_strings(map: &Value, of: &str) {
    for (key, value) in map.as_object().into_iter().flatten() {
        assert!(value.is_string(), "{of}: {key}: {value}");
    }
}

#[test]
fn brokers_may_have_ipv6_addresses() {
    let address = r"kafka.bootstrapServers=[fd00::5]:9092\,[fd00::6]:9092\,kafka:9092";
    let Some(objects) = with_values(&[address, TOKEN, "networkPolicy.enabled=true"]) else {
        return;
    };
    let tracker = deployment(&objects, "tracker");
    assert_eq!(
        variable(tracker, "SUNDOWN_BOOTSTRAP_SERVERS"),
        Some("[fd00::5]:9092,[fd00::6]:9092,kafka:9092")
    );
    for role in ["tracker", "handler", "controller", "console"] {
        let listen = variable(deployment(&objects, role), "SUNDOWN_ADMIN_LISTEN");
        assert_eq!(listen, Some("[::]:8080"), "{role}");
    }
    let console = deployment(&objects, "console");
    assert_eq!(
        variable(console, "SUNDOWN_CONSOLE_LISTEN"),
        Some("[::]:9292")
    );
    for wrong in ["fd00::5:9092", "[fd00::5]", "kafka", "[kafka]:9092"] {
        let refused = template(&[&format!("kafka.bootstrapServers={wrong}")]).unwrap();
        assert!(refused.is_err(), "{wrong}");
    }
}

#[test]
fn security_contexts_can_be_left_to_the_platform() {
    let Some(plain) = with_values(&[BROKERS]) else {
        return;
    };
    let context = |objects: &[Value]| {
        deployment(objects, "tracker")["spec"]["template"]["spec"]["securityContext"].clone()
    };
    assert_eq!(context(&plain)["runAsUser"], 65532);

    let openshift = [
        "demo",
        CHART,
        "--set",
        BROKERS,
        "--api-versions",
        "security.openshift.io/v1",
    ];
    let chosen = context(&objects(&openshift).unwrap());
    assert_eq!(
        chosen,
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
    );

    let emptied = with_values(&[
        BROKERS,
        "pods.podSecurityContext=null",
        "tracker.securityContext.readOnlyRootFilesystem=true",
    ])
    .unwrap();
    assert_eq!(context(&emptied), Value::Null);
    let pods = of_kind(&emptied, "Pod");
    assert_eq!(pods[0]["spec"]["securityContext"], Value::Null);
    let container = |role| {
        let pod = &deployment(&emptied, role)["spec"]["template"]["spec"];
        pod["containers"][0]["securityContext"].clone()
    };
    assert_eq!(
        container("tracker"),
        json!({"readOnlyRootFilesystem": true})
    );
    assert_eq!(container("handler")["allowPrivilegeEscalation"], false);
}

/// While Strimzi replaces an authority, its secret has the old one under another key.
#[test]
fn every_authority_of_strimzis_secret_is_trusted() {
    let Some(objects) = with_values(&[STRIMZI]) else {
        return;
    };
    let tracker = deployment(&objects, "tracker");
    assert_eq!(
        variable(tracker, "SUNDOWN_TLS_CA_FILE"),
        Some("/etc/sundown/kafka/ca")
    );
    let volumes = tracker["spec"]["template"]["spec"]["volumes"]
        .as_array()
        .unwrap();
    let authority = volumes.iter().find(|volume| volume["name"] == "kafka-ca");
    assert_eq!(
        authority.unwrap()["secret"],
        json!({"secretName": "my-cluster-cluster-ca-cert"})
    );
}

#[test]
fn a_kafka_without_authorization_gets_users_without_acls() {
    let Some(objects) = with_values(&[STRIMZI, "kafka.strimzi.authorization=none"]) else {
        return;
    };
    let users = of_kind(&objects, "KafkaUser");
    assert_eq!(users.len(), 5);
    for user in users {
        assert_eq!(user["spec"], json!({"authentication": {"type": "tls"}}));
    }
    let open = with_values(&[
        STRIMZI,
        "kafka.strimzi.authentication=none",
        "kafka.strimzi.encrypted=false",
        "kafka.strimzi.port=9092",
    ])
    .unwrap();
    assert!(of_kind(&open, "KafkaUser").is_empty());
    let pod = &deployment(&open, "tracker")["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"], Value::Null);
}
