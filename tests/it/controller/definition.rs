//! The custom resource definition in the API server.

use serde_json::{Value, json};

use super::cluster::Cluster;

pub fn policies_that_keep_the_rules_are_accepted(cluster: &Cluster) {
    let namespace = cluster.namespace();
    let full = json!({
        "idleTimeout": "1h30m", "absoluteTimeout": "87600h", "warnBefore": "250ms", "priority": -5,
        "match": {"attributes": {"tenant": "acme"}, "userIds": ["svc-*", "?"]},
        "actions": ["revoke-tokens"], "suspend": true,
    });
    for spec in [
        json!({"idleTimeout": "90s"}),
        json!({"idleTimeout": "1h", "absoluteTimeout": "60m"}),
        json!({"idleTimeout": "1h", "warnBefore": "59m59s"}),
        json!({"idleTimeout": "1h", "match": {}, "actions": []}),
        json!({"idleTimeout": "1h", "maxSessions": 1}),
        json!({"idleTimeout": "1h", "maxSessions": 10_000}),
        full,
    ] {
        assert_eq!(namespace.try_apply(&spec), Ok(()), "{spec}");
    }
    namespace.apply("defaults", &json!({"idleTimeout": "1h"}));
    let spec = &namespace.get("defaults")["spec"];
    assert_eq!(
        spec,
        &json!({"idleTimeout": "1h", "priority": 0, "suspend": false})
    );
}

pub fn each_rule_refuses_with_a_remedy(cluster: &Cluster) {
    let namespace = cluster.namespace();
    let with = |field: &str, value: Value| {
        let mut spec = json!({"idleTimeout": "1h"});
        spec[field] = value;
        spec
    };
    let many = |count: usize| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>();
    let large = json!({"a": "x".repeat(600), "b": "y".repeat(600)});
    let needs_routing =
        "must be from 1 to 10000, and needs trackers and controller with --routing-key user_id";
    let not_a_duration = "is not a duration: write it like 90s";
    for (spec, words) in [
        (json!({"priority": 1}), "idleTimeout: Required value"),
        (with("idleTimeout", json!("soon")), not_a_duration),
        (with("idleTimeout", json!("1m1h")), not_a_duration),
        (with("idleTimeout", json!("2d")), not_a_duration),
        (with("idleTimeout", json!("1.5h")), not_a_duration),
        (with("idleTimeout", json!("-1h")), not_a_duration),
        (with("idleTimeout", json!("")), "idleTimeout"),
        (with("idleTimeout", json!(60)), "expected string"),
        (with("absoluteTimeout", json!("later")), not_a_duration),
        (with("warnBefore", json!("5x")), not_a_duration),
        (with("idleTimeout", json!("0s")), "must be more than zero"),
        (
            with("idleTimeout", json!("87601h")),
            "must not be longer than ten years",
        ),
        (with("warnBefore", json!("1h")), "shorten warnBefore"),
        (
            with("absoluteTimeout", json!("59m")),
            "lengthen absoluteTimeout",
        ),
        (with("absolutTimeout", json!("2h")), "absolutTimeout"),
        (with("match", json!({"user": "a"})), "user"),
        (
            with("match", json!({"attributes": large})),
            "must not exceed 1024 characters",
        ),
        (
            with("match", json!({"userIds": many(65)})),
            "at most 64 items",
        ),
        (with("match", json!({"userIds": [""]})), "userIds[0]"),
        (with("actions", json!(many(33))), "at most 32 items"),
        (with("actions", json!(["log", "log"])), "uplicate"),
        (with("priority", json!(3_000_000_000_i64)), "int32"),
        (with("maxSessions", json!(0)), needs_routing),
        (with("maxSessions", json!(10_001)), needs_routing),
        (
            with("maxSessions", json!("2")),
            "maxSessions: expected numeric",
        ),
    ] {
        let refused = namespace.try_apply(&spec).expect_err(&spec.to_string());
        assert!(refused.contains(words), "{spec}: {refused}");
    }
}
