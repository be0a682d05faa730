//! The chart where its users stand: umbrella charts, numeric names, IPv6, OpenShift, Strimzi without
//! authorization.

use std::io::Write;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::helm::{BROKERS, CHART, STRIMZI, helm, template};

const TOKEN: &str = "console.authTokenSecret=console";

/// The objects that these arguments render; `None` without helm.
fn objects(arguments: &[&str]) -> Option<Vec<Value>> {
    let output = helm(&[&["template"], arguments].concat())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    Some(parse(&String::from_utf8(output.stdout).unwrap()))
}

fn parse(rendered: &str) -> Vec<Value> {
    let objects = serde_yaml::Deserializer::from_str(rendered);
    let objects = objects.map(|object| Value::deserialize(object).unwrap());
    objects.filter(|object| !object.is_null()).collect()
}

fn with_values(values: &[&str]) -> Option<Vec<Value>> {
    Some(parse(&template(values)?.unwrap()))
}

/// What a file of values renders.
fn with_file(values: &Value) -> Option<Vec<Value>> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    // Helm parses the numbers of files as floating point, those of `--set` as integers.
    file.write_all(serde_yaml::to_string(values).unwrap().as_bytes())
        .unwrap();
    let path = file.path().to_str().unwrap();
    objects(&["demo", CHART, "--values", path])
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects
        .iter()
        .filter(|object| object["kind"] == kind)
        .collect()
}

fn deployment<'a>(objects: &'a [Value], role: &str) -> &'a Value {
    let label = "app.kubernetes.io/component";
    let mut found = of_kind(objects, "Deployment").into_iter();
    found
        .find(|object| object["metadata"]["labels"][label] == role)
        .unwrap()
}

fn variable<'a>(deployment: &'a Value, name: &str) -> Option<&'a str> {
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let mut variables = container["env"].as_array().unwrap().iter();
    variables.find(|variable| variable["name"] == name)?["value"].as_str()
}

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

#[test]
fn pods_take_what_clusters_demand_of_them() {
    let values = json!({
        "kafka": {"bootstrapServers": "kafka:9092"},
        "pods": {
            "annotations": {"reloader.stakater.com/auto": "true"},
            "podAnnotations": {"a": "all", "b": "all"},
            "podLabels": {"team": "identity"},
            "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
            "nodeSelector": {"pool": "all"},
        },
        "tracker": {
            "podAnnotations": {"b": "tracker"},
            "nodeSelector": {"pool": "tracker"},
            "sidecars": [{"name": "proxy", "image": "proxy:1"}],
            "extraVolumes": [{"name": "tmp", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            "topologySpreadConstraints": [],
            "livenessProbe": {"failureThreshold": 9},
        },
        "test": {"resources": {"limits": {"memory": "1Gi"}}},
    });
    let Some(objects) = with_file(&values) else {
        return;
    };
    let tracker = deployment(&objects, "tracker");
    assert_eq!(
        tracker["metadata"]["annotations"]["reloader.stakater.com/auto"],
        "true"
    );
    let pod = &tracker["spec"]["template"];
    assert_eq!(pod["metadata"]["annotations"]["a"], "all");
    assert_eq!(pod["metadata"]["annotations"]["b"], "tracker");
    assert_eq!(pod["metadata"]["labels"]["team"], "identity");
    assert!(
        tracker["spec"]["selector"]["matchLabels"]
            .get("team")
            .is_none()
    );
    let pod = &pod["spec"];
    assert_eq!(pod["nodeSelector"], json!({"pool": "tracker"}));
    assert_eq!(pod["containers"][1]["name"], "proxy");
    assert_eq!(pod["volumes"][0]["name"], "tmp");
    assert_eq!(pod["topologySpreadConstraints"], Value::Null);
    assert_eq!(
        pod["containers"][0]["livenessProbe"],
        json!({
            "httpGet": {"path": "/livez", "port": "admin"},
            "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 9,
        })
    );
    assert_eq!(variable(tracker, "HTTPS_PROXY"), Some("http://proxy:3128"));
    let handler = &deployment(&objects, "handler")["spec"]["template"]["spec"];
    let spread = &handler["topologySpreadConstraints"][0];
    assert_eq!(spread["matchLabelKeys"], json!(["pod-template-hash"]));
    assert_eq!(
        spread["labelSelector"]["matchLabels"]["app.kubernetes.io/component"],
        "handler"
    );
    let test = of_kind(&objects, "Pod")[0];
    assert_eq!(
        test["spec"]["containers"][0]["resources"]["limits"]["memory"],
        "1Gi"
    );
    assert_eq!(test["spec"]["nodeSelector"], json!({"pool": "all"}));
}

#[test]
fn roles_take_service_accounts_of_their_own() {
    let Some(objects) = with_values(&[
        BROKERS,
        "tracker.serviceAccount.name=mine",
        "tracker.serviceAccount.create=false",
        "controller.serviceAccount.name=theirs",
    ]) else {
        return;
    };
    let pod = &deployment(&objects, "tracker")["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "mine");
    let accounts = of_kind(&objects, "ServiceAccount");
    let accounts: Vec<_> = accounts
        .iter()
        .map(|account| &account["metadata"]["name"])
        .collect();
    assert_eq!(
        accounts,
        ["demo-sundown-handler", "theirs", "demo-sundown-console"]
    );
    for binding in of_kind(&objects, "RoleBinding") {
        assert_eq!(binding["subjects"][0]["name"], "theirs");
    }
}

#[test]
fn the_console_is_reached_through_an_ingress_or_a_gateway() {
    let Some(objects) = with_values(&[
        BROKERS,
        TOKEN,
        "console.ingress.enabled=true",
        "console.ingress.hosts={sundown.example}",
        "console.httpRoute.enabled=true",
        "console.httpRoute.parentRefs[0].name=gateway",
        "console.httpRoute.path=/sundown",
    ]) else {
        return;
    };
    let service = "demo-sundown-console-http";
    let rule = &of_kind(&objects, "Ingress")[0]["spec"]["rules"][0];
    assert_eq!(rule["host"], "sundown.example");
    let backend = &rule["http"]["paths"][0]["backend"];
    assert_eq!(
        backend["service"],
        json!({"name": service, "port": {"name": "http"}})
    );
    let route = &of_kind(&objects, "HTTPRoute")[0]["spec"];
    assert_eq!(route["parentRefs"], json!([{"name": "gateway"}]));
    assert_eq!(route["rules"][0]["matches"][0]["path"]["value"], "/sundown");
    assert_eq!(route["rules"][0]["backendRefs"][0]["name"], service);
    let services = of_kind(&objects, "Service");
    assert!(
        services
            .iter()
            .any(|found| found["metadata"]["name"] == service)
    );
    for values in [
        &[BROKERS, "console.ingress.enabled=true"][..],
        &[BROKERS, "console.httpRoute.enabled=true"],
        &[BROKERS, TOKEN, "console.httpRoute.enabled=true"],
    ] {
        assert!(template(values).unwrap().is_err(), "{values:?}");
    }
}

#[test]
fn extra_objects_are_templates() {
    let values = json!({
        "kafka": {"bootstrapServers": "kafka:9092"},
        "extraObjects": [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "{{ .Release.Name }}-a"}},
            "apiVersion: v1\nkind: Secret\nmetadata: {name: '{{ include \"sundown.fullname\" . }}-b'}",
        ],
    });
    let Some(objects) = with_file(&values) else {
        return;
    };
    let secrets = of_kind(&objects, "Secret");
    let names: Vec<_> = secrets
        .iter()
        .map(|secret| &secret["metadata"]["name"])
        .collect();
    assert_eq!(names, ["demo-a", "demo-sundown-b"]);
}

#[test]
fn network_policies_take_further_rules() {
    let Some(objects) = with_values(&[
        BROKERS,
        "networkPolicy.enabled=true",
        "networkPolicy.adminFrom[0].podSelector.matchLabels.app=prometheus",
        "networkPolicy.extraEgress.tracker[0].ports[0].port=4317",
        "networkPolicy.extraIngress.console[0].ports[0].port=9999",
    ]) else {
        return;
    };
    let policies = of_kind(&objects, "NetworkPolicy");
    let policy = |role: &str| {
        let name = format!("demo-sundown-{role}");
        let mut found = policies.iter();
        &found
            .find(|policy| policy["metadata"]["name"] == name)
            .unwrap()["spec"]
    };
    let from = policy("tracker")["ingress"][0]["from"].as_array().unwrap();
    assert_eq!(from[0]["podSelector"]["matchLabels"]["app"], "prometheus");
    let console = &from[1]["podSelector"]["matchLabels"]["app.kubernetes.io/component"];
    assert_eq!(console, "console");
    assert_eq!(policy("tracker")["egress"][1]["ports"][0]["port"], 4317);
    assert_eq!(policy("console")["ingress"][2]["ports"][0]["port"], 9999);
    let test = &policy("check")["egress"][0]["ports"];
    assert!(test.to_string().contains("5353"), "{test}");
}

#[test]
fn alerts_and_autoscalers_can_be_adjusted() {
    let values = json!({
        "kafka": {"bootstrapServers": "kafka:9092"},
        "monitoring": {
            "podMonitor": {"enabled": true, "relabelings": [{"targetLabel": "cluster", "replacement": "eu"}]},
            "prometheusRule": {
                "enabled": true,
                "overrides": {"SundownTrackerLag": {"for": "42m", "labels": {"severity": "page"}}},
            },
        },
        "autoscaling": {"handler": {
            "mode": "keda",
            "annotations": {"scaledobject.keda.sh/transfer-hpa-ownership": "true"},
            "hpaName": "demo-sundown-handler",
            "fallback": {"failureThreshold": 3, "replicas": 3},
            "authenticationRef": {"name": "ours", "kind": "ClusterTriggerAuthentication"},
        }},
    });
    let Some(objects) = with_file(&values) else {
        return;
    };
    let monitor = &of_kind(&objects, "PodMonitor")[0]["spec"]["podMetricsEndpoints"][0];
    assert_eq!(monitor["relabelings"][0]["replacement"], "eu");
    let rules = of_kind(&objects, "PrometheusRule")[0]["spec"].to_string();
    assert!(rules.contains("42m") && rules.contains("page"), "{rules}");
    let scaled = of_kind(&objects, "ScaledObject")[0];
    assert_eq!(
        scaled["metadata"]["annotations"]["scaledobject.keda.sh/transfer-hpa-ownership"],
        "true"
    );
    let advanced = &scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"];
    assert_eq!(advanced["name"], "demo-sundown-handler");
    assert_eq!(scaled["spec"]["fallback"]["replicas"], 3);
    assert_eq!(
        scaled["spec"]["triggers"][0]["authenticationRef"]["name"],
        "ours"
    );
    assert!(of_kind(&objects, "TriggerAuthentication").is_empty());
}
