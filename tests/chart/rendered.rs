//! Rendered objects of the chart, and rejected values.

use crate::helm::{BROKERS, CHART, STRIMZI, helm, template};

#[test]
fn helm_lint_finds_no_problem() {
    for values in [BROKERS, STRIMZI] {
        let Some(output) = helm(&["lint", "--strict", "--set", values, CHART]) else {
            return;
        };
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn renders_what_it_has_always_rendered() {
    for (name, values) in [
        ("brokers", &[BROKERS][..]),
        (
            "sasl",
            &[
                BROKERS,
                "kafka.topicPrefix=eu.",
                "kafka.properties.linger\\.ms=5",
                "kafka.tls.caSecret=authority",
                "kafka.sasl.mechanism=SCRAM-SHA-512",
                "kafka.sasl.username=sundown",
                "kafka.sasl.passwordSecret=sundown-kafka",
                "controller.enabled=false",
            ],
        ),
        ("strimzi", &[STRIMZI, "kafka.topicPrefix=eu."]),
        (
            "everything",
            &[
                STRIMZI,
                "kafka.strimzi.authentication=scram-sha-512",
                "autoscaling.tracker.mode=keda",
                "autoscaling.handler.mode=hpa",
                "autoscaling.ingest.mode=keda",
                "monitoring.podMonitor.enabled=true",
                "networkPolicy.enabled=true",
                "console.authTokenSecret=console",
                "console.oidc.issuer=https://idp.example:8443/realms/staff",
                "console.oidc.clientId=sundown",
                "console.apiTokens.operatorSecret=programs",
                "console.oidc.clientSecret=console-client",
                "console.oidc.publicUrl=https://sundown.example",
                "console.oidc.scopes={groups}",
                "console.oidc.operators={on-call,platform}",
                "console.oidc.admins={security}",
                "tracker.adminTokenSecret=admin",
                "controller.namespaces={sessions,other}",
                "handler.actions.actions[0].name=notify",
                "handler.actions.actions[0].type=log",
                "handler.secrets={webhook}",
                "ingest.enabled=true",
                "ingest.sourceTopics={nginx-access}",
                "ingest.http.enabled=true",
                "ingest.http.tokensSecret=events",
                "ingest.http.publicTokensSecret=pages",
                "ingest.http.ssfTransmitters[0].issuer=https://idp.example",
                "ingest.http.ssfTransmitters[0].audience=sundown",
                "ingest.http.ssfTransmitters[0].jwksUri=https://idp.example/keys",
                "ingest.http.allowedOrigins={https://shop.example}",
                "ingest.sourceTopicPrefixes={clicks-}",
                "ingest.schemaRegistry.credentialsSecrets={registry}",
                "networkPolicy.schemaRegistryPorts={8081}",
            ],
        ),
    ] {
        let Some(rendered) = template(values) else {
            return;
        };
        insta::with_settings!({snapshot_path => "snapshots"}, {
            insta::assert_snapshot!(name, rendered.unwrap());
        });
    }
}

#[test]
fn no_more_replicas_than_partitions() {
    for mode in ["keda", "hpa"] {
        let mode = format!("autoscaling.tracker.mode={mode}");
        let Some(rendered) = template(&[
            STRIMZI,
            "kafka.strimzi.topics.partitions=6",
            "autoscaling.tracker.maxReplicas=40",
            &mode,
        ]) else {
            return;
        };
        let rendered = rendered.unwrap();
        let most = rendered
            .lines()
            .find(|line| line.trim_start().starts_with("maxReplica"))
            .unwrap();
        assert!(most.ends_with(": 6"), "{most}");
        assert!(!rendered.contains("minReplicaCount: 0"), "{rendered}");
    }
}

#[test]
fn refuses_typos_by_name() {
    refuses(&[
        (&[BROKERS, "trackers.replicas=3"], "trackers"),
        (&[BROKERS, "tracker.replica=3"], "replica"),
        (&[BROKERS, "tracker.replicas=0"], "minimum"),
        (&[BROKERS, "tracker.idleTimeout=soon"], "idleTimeout"),
        (&["kafka.bootstrapServers=kafka"], "kafka/bootstrapServers"),
        (
            &[BROKERS, "monitoring.prometheusRule.disabled={TrackerLag}"],
            "monitoring/prometheusRule/disabled",
        ),
    ]);
}

#[test]
fn refuses_connections_that_contradict_themselves() {
    refuses(&[
        (&[], "kafka.bootstrapServers is empty: name your brokers"),
        (
            &[BROKERS, STRIMZI],
            "kafka.bootstrapServers and kafka.strimzi.cluster are both set",
        ),
        (
            &[BROKERS, "kafka.sasl.mechanism=PLAIN"],
            "requires kafka.sasl.username and kafka.sasl.passwordSecret",
        ),
        (
            &[STRIMZI, "kafka.tls.enabled=true"],
            "kafka.tls and kafka.sasl conflict with kafka.strimzi.cluster",
        ),
        (
            &[STRIMZI, "kafka.strimzi.encrypted=false"],
            "mutual TLS needs an encrypted listener",
        ),
        (
            &[BROKERS, "kafka.sasl.passwordSecret=mine"],
            "but kafka.sasl.mechanism is not",
        ),
        (
            &[BROKERS, "kafka.sasl.mechanism=OAUTHBEARER"],
            "requires kafka.sasl.oauth.tokenUrl",
        ),
        (
            &[
                BROKERS,
                "kafka.sasl.mechanism=OAUTHBEARER",
                "kafka.sasl.oauth.tokenUrl=https://idp.example/token",
                "kafka.sasl.oauth.clientId=sundown",
            ],
            "requires kafka.sasl.oauth.secret",
        ),
        (
            &[
                BROKERS,
                "kafka.sasl.oauth.tokenUrl=https://idp.example/token",
            ],
            "but clients do not use it",
        ),
        (
            &[BROKERS, r"kafka.properties.ssl\.key\.password=hunter2"],
            "use kafka.secretProperties",
        ),
        (
            &[BROKERS, r"kafka.properties.sasl\.password=hunter2"],
            "use kafka.sasl",
        ),
    ]);
}

#[test]
fn refuses_autoscaling_by_a_metric_without_a_source() {
    refuses(&[
        (
            &[
                BROKERS,
                "autoscaling.handler.mode=hpa",
                "controller.enabled=false",
            ],
            "autoscaling.handler uses the lag in seconds, which the controller measures",
        ),
        (
            &[
                BROKERS,
                "autoscaling.tracker.mode=keda",
                "autoscaling.tracker.trigger=prometheus",
                "controller.enabled=false",
            ],
            "autoscaling.tracker uses the lag in seconds, which the controller measures",
        ),
        (
            &[
                BROKERS,
                "autoscaling.tracker.mode=keda",
                "autoscaling.tracker.maxReplicas=1",
            ],
            "autoscaling.tracker.maxReplicas (1) is below tracker.replicas (2)",
        ),
        (
            &[BROKERS, "ingest.enabled=true", "ingest.http.enabled=true"],
            "ingest.http.enabled needs ingest.http.tokensSecret",
        ),
        (
            &[
                BROKERS,
                "ingest.enabled=true",
                "ingest.http.enabled=true",
                "ingest.http.tokensSecret=events",
                "ingest.http.publicTokensSecret=pages",
            ],
            "needs ingest.http.allowedOrigins",
        ),
        (
            &[BROKERS, "autoscaling.ingest.mode=keda"],
            "autoscaling.ingest.mode is set, but ingest.enabled is false",
        ),
        (
            &[
                BROKERS,
                "ingest.enabled=true",
                "autoscaling.ingest.mode=hpa",
            ],
            "list the topics of the sources in ingest.sourceTopics",
        ),
    ]);
}

#[test]
fn refuses_other_contradictions() {
    refuses(&[
        (
            &[
                BROKERS,
                "handler.actions.actions[0].name=log",
                "handler.actions.actions[0].type=log",
                "handler.actionsConfigMap=mine",
            ],
            "choose one",
        ),
        (
            &[BROKERS, "handler.jwks.enabled=true"],
            "handler.jwks.enabled requires a signing action",
        ),
        (
            &[BROKERS, "console.anonymousRead=true"],
            "name a Secret with a token",
        ),
        (
            &[
                "kafka.bootstrapServers=kafka:9092\\,other:9094",
                "networkPolicy.enabled=true",
            ],
            "networkPolicy.kafkaPorts lacks 9094, the port of other:9094",
        ),
        (
            &[
                BROKERS,
                "controller.allNamespaces=true",
                "controller.namespaces={a}",
            ],
            "choose one",
        ),
        (
            &[
                BROKERS,
                "monitoring.podMonitor.enabled=true",
                "monitoring.serviceMonitor.enabled=true",
            ],
            "every process would be scraped twice",
        ),
    ]);
}

/// What is set, and what helm says against it.
fn refuses(cases: &[(&[&str], &str)]) {
    for (values, expected) in cases {
        let Some(rendered) = template(values) else {
            return;
        };
        let refusal = rendered.unwrap_err();
        assert!(refusal.contains(expected), "{values:?}: {refusal}");
    }
}
