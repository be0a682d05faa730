//! Values that extend the rendered objects: pods, service accounts, ingress, policies, alerts.

use serde_json::{Value, json};

use crate::helm::{BROKERS, template};
use crate::objects::{deployment, of_kind, variable, with_file, with_values};

const TOKEN: &str = "console.authTokenSecret=console";

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
fn ports_of_applications_speak_https_with_a_secret() {
    let Some(objects) = with_values(&[
        BROKERS,
        "ingest.enabled=true",
        "ingest.http.enabled=true",
        "ingest.http.tokensSecret=tokens",
        "ingest.http.tlsSecret=events-tls",
        "handler.actions.actions[0].name=log",
        "handler.actions.actions[0].type=log",
        "handler.jwks.enabled=true",
        "handler.jwks.tlsSecret=keys-tls",
    ]) else {
        return;
    };
    for (role, port, flag) in [("ingest", "http", "HTTP"), ("handler", "jwks", "JWKS")] {
        let certificate = format!("SUNDOWN_{flag}_TLS_CERT");
        assert_eq!(
            variable(deployment(&objects, role), &certificate),
            Some(format!("/etc/sundown/{port}-tls/tls.crt").as_str())
        );
        let services = of_kind(&objects, "Service");
        let suffix = format!("{role}-{port}");
        let service = services.iter().find(|service| {
            let name = service["metadata"]["name"].as_str();
            name.is_some_and(|name| name.ends_with(&suffix))
        });
        assert_eq!(service.unwrap()["spec"]["ports"][0]["port"], 443);
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
fn limits_of_namespaces_reach_the_controller_with_all_digits() {
    let limits = json!({
        "shop": {
            "match": {"attributes": {"tenant": "shop"}},
            "maxPriority": 20_000_000,
            "actions": ["audit"],
        },
        "*": {"maxPriority": 0},
    });
    let values = json!({
        "kafka": {"bootstrapServers": "kafka:9092"},
        "controller": {"namespaceLimits": limits},
    });
    let Some(objects) = with_file(&values) else {
        return;
    };
    let name = "demo-sundown-controller-limits";
    let mut maps = of_kind(&objects, "ConfigMap").into_iter();
    let map = maps.find(|map| map["metadata"]["name"] == name).unwrap();
    let text = map["data"]["limits.yaml"].as_str().unwrap();
    assert!(text.contains("20000000"), "{text}");
    assert_eq!(serde_yaml::from_str::<Value>(text).unwrap(), limits);
    let controller = deployment(&objects, "controller");
    let path = variable(controller, "SUNDOWN_NAMESPACE_LIMITS").unwrap();
    assert_eq!(path, "/etc/sundown/limits/limits.yaml");
    let pod = &controller["spec"]["template"];
    let mounts = &pod["spec"]["containers"][0]["volumeMounts"];
    let named = |list: &Value| {
        let mut found = list.as_array().unwrap().iter();
        found.find(|one| one["name"] == "limits").unwrap().clone()
    };
    assert_eq!(named(mounts)["mountPath"], "/etc/sundown/limits");
    let volume = named(&pod["spec"]["volumes"]);
    assert_eq!(volume["configMap"]["name"], name);
    // An edit restarts the controllers.
    assert!(pod["metadata"]["annotations"]["checksum/config"].is_string());

    let wrong = "controller.namespaceLimits.shop.priority=1";
    let refused = template(&[BROKERS, wrong]).unwrap().unwrap_err();
    assert!(refused.contains("priority"), "{refused}");
}

/// OpenShift's DNS pods listen on 5353.
#[test]
fn ports_of_dns_can_be_chosen() {
    let ports = |values: &[&str]| {
        let values = [&[BROKERS, "networkPolicy.enabled=true"], values].concat();
        let objects = with_values(&values)?;
        let mut found = Vec::new();
        for policy in of_kind(&objects, "NetworkPolicy") {
            let name = policy["metadata"]["name"].as_str().unwrap();
            if !name.ends_with("-handler") {
                // Actions of handlers may call any destination.
                let ports = policy["spec"]["egress"][0]["ports"].as_array().unwrap();
                let udp = ports.iter().filter(|port| port["protocol"] == "UDP");
                let udp: Vec<_> = udp.map(|port| port["port"].as_u64().unwrap()).collect();
                found.push((name.to_owned(), udp));
            }
        }
        Some(found)
    };
    let Some(default) = ports(&[]) else {
        return;
    };
    assert_eq!(default.len(), 4);
    for (name, ports) in default {
        assert_eq!(ports, [53, 5353], "{name}");
    }
    for (name, ports) in ports(&["networkPolicy.dnsPorts={5353}"]).unwrap() {
        assert_eq!(ports, [5353], "{name}");
    }
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
