//! `sundown policy` writes, shows, checks and deletes.

use serde_json::{Value, json};

use super::{Output, apply, file, policy, run, tenant};
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::process::Launch;
use crate::support::topic::NewRecord;

const DEFAULT: &str = "{idleTimeout: 1h, absoluteTimeout: 12h, warnBefore: 5m}";
const MOBILE: &str = "
  idleTimeout: 15m
  priority: 10
  match: {attributes: {tenant: acme, client: mobile}, userIds: ['svc-*', root]}
  actions: [audit, revoke-tokens]
  suspend: true";

/// Key, generation and idle timeout of all records in the topic; a deleted policy has none.
fn records(installation: &Installation<'_>) -> Vec<(String, Option<(u64, String)>)> {
    let records = installation.read("sundown.policies").into_iter();
    let pairs = records.map(|record| {
        let key = String::from_utf8(record.key.clone().expect("a key")).expect("UTF-8");
        let value = record.value.is_some().then(|| {
            let document = record.json();
            let idle = document["spec"]["idleTimeout"].as_str().expect("a timeout");
            (
                document["metadata"]["generation"]
                    .as_u64()
                    .expect("a generation"),
                idle.to_owned(),
            )
        });
        (key, value)
    });
    pairs.collect()
}

#[test]
fn apply_writes_what_has_changed_and_counts_generations() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let applied = apply(
        &installation,
        &(policy("default", DEFAULT) + &tenant("acme", "15m")),
    );
    assert_eq!(
        applied.succeeded(),
        "sessionpolicy.sundown.dev/default created\nsessionpolicy.sundown.dev/acme created\n"
    );
    let applied = apply(
        &installation,
        &(policy("default", DEFAULT) + &tenant("acme", "20m")),
    );
    assert_eq!(
        applied.succeeded(),
        "sessionpolicy.sundown.dev/default unchanged\nsessionpolicy.sundown.dev/acme configured\n"
    );
    let record =
        |name: &str, generation, idle: &str| (name.to_owned(), Some((generation, idle.to_owned())));
    let written = [
        record("default", 1, "1h"),
        record("acme", 1, "15m"),
        record("acme", 2, "20m"),
    ];
    assert_eq!(records(&installation), written);

    // If any policy is invalid, nothing is written and all problems are printed.
    let applied = apply(
        &installation,
        &(policy("new", "{idleTimeout: 1h}") + &tenant("acme", "0s") + &tenant("b", "soon")),
    );
    applied.failed(&[
        "SessionPolicy 'acme': spec.idleTimeout: must be more than zero",
        "'soon' is not a duration",
        "error: 2 policies are invalid: correct them; nothing has been written",
    ]);
    assert_eq!(records(&installation), written);
}

#[test]
fn get_shows_what_apply_takes() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let none = run(&installation, &["get"]);
    assert!(none.stderr.contains("No policies"), "{}", none.stderr);
    assert_eq!(none.succeeded(), "");
    apply(
        &installation,
        &(policy("default", DEFAULT) + &policy("mobile", MOBILE)),
    )
    .succeeded();
    // What the controller writes has a namespace.
    let document = json!({
        "apiVersion": "sundown.dev/v1alpha1", "kind": "SessionPolicy",
        "metadata": {"name": "web", "namespace": "shop", "generation": 7},
        "spec": {"idleTimeout": "30m"},
    });
    let topic = installation.topic("sundown.policies");
    let record = NewRecord::new("shop/web", document.to_string());
    installation.kafka.produce(&topic, [record]);

    assert_eq!(
        run(&installation, &["get"]).succeeded(),
        "\
NAME      GENERATION  IDLE  ABSOLUTE  WARN  PRIORITY  MATCH                                      ACTIONS              SUSPENDED
default   1           1h    12h       5m    0         all                                        -                    -
mobile    1           15m   -         -     10        client=mobile,tenant=acme,user=svc-*|root  audit,revoke-tokens  yes
shop/web  7           30m   -         -     0         all                                        -                    -
"
    );
    let one = run(&installation, &["get", "shop/web", "-o", "json"]).succeeded();
    let one: Value = serde_json::from_str(&one).expect("JSON");
    assert_eq!(one["metadata"], document["metadata"]);
    let all = run(&installation, &["get", "-o", "json"]).succeeded();
    let all: Value = serde_json::from_str(&all).expect("JSON");
    assert_eq!(all.as_array().map(Vec::len), Some(3));

    run(&installation, &["delete", "shop/web"]).succeeded();
    let all = run(&installation, &["get", "-o", "yaml"]).succeeded();
    assert_eq!(
        apply(&installation, &all).succeeded(),
        "sessionpolicy.sundown.dev/default unchanged\nsessionpolicy.sundown.dev/mobile unchanged\n"
    );
    run(&installation, &["get", "unknown"]).failed(&["no policy 'unknown'", "sundown policy get"]);
}

#[test]
fn delete_knows_what_there_is() {
    let installation = Installation::new(Kafka::shared(), SHORT);
    let policies = policy("default", DEFAULT) + &policy("mobile", MOBILE);
    apply(&installation, &policies).succeeded();
    run(&installation, &["delete", "mobile", "unknown"]).failed(&[
        "no policy 'unknown'",
        "--ignore-not-found",
        "nothing has been deleted",
    ]);
    assert_eq!(records(&installation).len(), 2);
    let deleted = run(
        &installation,
        &["delete", "mobile", "unknown", "--ignore-not-found"],
    );
    assert_eq!(
        deleted.succeeded(),
        "sessionpolicy.sundown.dev/mobile deleted\n"
    );
    assert_eq!(records(&installation)[2], ("mobile".to_owned(), None));

    let file = file(&policy("default", DEFAULT));
    let path = file.path().to_str().expect("a path in UTF-8");
    let deleted = run(&installation, &["delete", "-f", path]);
    assert_eq!(
        deleted.succeeded(),
        "sessionpolicy.sundown.dev/default deleted\n"
    );
    run(&installation, &["delete", "-f", path]).failed(&["no policy 'default'"]);
    // Deleted and made again, a policy starts at generation 1.
    apply(&installation, &policies).succeeded();
    let made_again = ("mobile".to_owned(), Some((1, "15m".to_owned())));
    assert_eq!(records(&installation).last(), Some(&made_again));
}

#[test]
fn validate_needs_no_kafka_and_reports_every_problem() {
    let validate = |text: &str| {
        let file = file(text);
        let launch = Launch::sundown().args(["policy", "validate", "-b", "127.0.0.1:1", "-f"]);
        Output::of(launch.arg(file.path()))
    };
    let good = policy("default", DEFAULT) + &policy("mobile", MOBILE);
    assert_eq!(
        validate(&good).succeeded(),
        "sessionpolicy.sundown.dev/default valid\nsessionpolicy.sundown.dev/mobile valid\n"
    );
    validate(&(good + &tenant("acme", "0s") + &policy("x", "{idle: 1h}"))).failed(&[
        "SessionPolicy 'acme': spec.idleTimeout",
        "document 4: spec: unknown field `idle`",
        "error: 2 policies are invalid",
    ]);
    validate("# nothing\n").failed(&["there is no policy in"]);
}

#[test]
fn presets_are_listed_and_state_the_source_of_each_timeout() {
    let preset = |args: &[&str]| {
        Output::of(Launch::sundown().args(["policy", "preset"]).args(args)).succeeded()
    };
    let list = preset(&[]);
    assert_eq!(
        list,
        "\
NAME              IDLE  ABSOLUTE  SOURCE
nist-aal1         720h  720h      NIST SP 800-63B-4, section 2.1.3
nist-aal2         1h    24h       NIST SP 800-63B-4, section 2.2.3
nist-aal3         15m   12h       NIST SP 800-63B-4, section 2.3.3
owasp-high-value  5m    4h        OWASP Session Management Cheat Sheet, Session Expiration
owasp-low-risk    30m   8h        OWASP Session Management Cheat Sheet, Session Expiration
pci-dss           15m   8h        PCI DSS 4.0.1, requirement 8.2.8; absolute: OWASP Session Management Cheat Sheet, Session Expiration
"
    );
    assert_eq!(
        preset(&["pci-dss"]),
        "\
apiVersion: sundown.dev/v1alpha1
kind: SessionPolicy
metadata: {name: pci-dss}
spec:
  # PCI DSS 4.0.1, requirement 8.2.8: no more than 15 minutes
  idleTimeout: 15m
  # OWASP Session Management Cheat Sheet, Session Expiration: 4 to 8 hours for a day of work; none in PCI DSS
  absoluteTimeout: 8h
"
    );
    // Each name of the list is one that is printed, and `apply` takes what is printed.
    let names = list.lines().skip(1);
    let names: Vec<_> = names.filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names.len(), 6);
    for name in names {
        let policies = file(&preset(&[name]));
        let launch = Launch::sundown().args(["policy", "validate", "-f"]);
        assert_eq!(
            Output::of(launch.arg(policies.path())).succeeded(),
            format!("sessionpolicy.sundown.dev/{name} valid\n")
        );
    }
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    for args in [
        &["apply"][..],
        &["delete"],
        &["delete", "a", "-f", "b"],
        &["get", "-o", "xml"],
        &["simulate", "-f", "a", "--from", "b", "--topic"],
    ] {
        let launch = Launch::sundown().arg("policy").args(args);
        assert_eq!(Output::of(launch).code, Some(2), "{args:?}");
    }
    let launch = Launch::sundown().args(["policy", "validate", "-f", "/no/such/file"]);
    Output::of(launch).failed(&["cannot read policies from /no/such/file", "check -f"]);
}
