//! Applies the rendered chart to the API server of `SUNDOWN_TEST_KUBECONFIG`.
//!
//! Strimzi's, KEDA's and prometheus-operator's definitions have to be installed there for the
//! parts that use them.

use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::helm::{CHART, STRIMZI, helm, template};

const KINDS_OF_OTHERS: [&str; 7] = [
    "kafkatopics.kafka.strimzi.io",
    "kafkausers.kafka.strimzi.io",
    "scaledobjects.keda.sh",
    "triggerauthentications.keda.sh",
    "podmonitors.monitoring.coreos.com",
    "servicemonitors.monitoring.coreos.com",
    "prometheusrules.monitoring.coreos.com",
];

/// A namespace of a test's own in which pods have to meet the level `restricted`.
struct Namespace {
    kubeconfig: OsString,
    name: &'static str,
}

impl Namespace {
    /// None, and a line on stderr, if there is no cluster.
    fn create(name: &'static str) -> Option<Self> {
        let Some(kubeconfig) = std::env::var_os("SUNDOWN_TEST_KUBECONFIG") else {
            assert!(
                std::env::var_os("SUNDOWN_TEST_REQUIRE_CLUSTER").is_none(),
                "SUNDOWN_TEST_KUBECONFIG is not set"
            );
            eprintln!(
                "SKIPPED: no cluster (SUNDOWN_TEST_KUBECONFIG), so no server has seen the chart"
            );
            return None;
        };
        let namespace = Self { kubeconfig, name };
        let manifest = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {
                    "pod-security.kubernetes.io/enforce": "restricted",
                    "pod-security.kubernetes.io/warn": "restricted",
                },
            },
        });
        namespace.kubectl(&["apply", "-f", "-"], &manifest.to_string());
        Some(namespace)
    }

    /// Creates a service account. A dry run creates none, and refuses a pod whose account is missing.
    fn create_account(&self, name: &str) {
        let manifest = serde_json::json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": self.name},
        });
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.kubectl(&apply, &manifest.to_string());
    }

    /// Runs kubectl, which must succeed; returns its output.
    fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = self.run(arguments, input);
        let (output, errors) = (
            String::from_utf8(stdout).unwrap(),
            String::from_utf8(stderr).unwrap(),
        );
        assert!(status.success(), "kubectl {arguments:?}: {errors}");
        output + &errors
    }

    fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut kubectl = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        kubectl
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        kubectl.wait_with_output().unwrap()
    }

    /// Whether the cluster knows these kinds of others.
    fn knows(&self, kinds: &[&str]) -> bool {
        kinds.iter().all(|kind| {
            let known = self.run(&["get", "crd", kind], "").status.success();
            if !known {
                eprintln!("SKIPPED: the cluster has no {kind}");
            }
            known
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _gone = self.run(&["delete", "namespace", self.name, "--wait=false"], "");
    }
}

#[test]
fn a_server_accepts_all_of_it_in_a_restricted_namespace() {
    let Some(namespace) = Namespace::create("sundown-chart-accepted") else {
        return;
    };
    namespace.create_account("demo-sundown-check-strimzi");
    let mut installations = vec![vec![
        "kafka.bootstrapServers=kafka:9092",
        "autoscaling.tracker.mode=hpa",
        "networkPolicy.enabled=true",
        "handler.actions.actions[0].name=notify",
        "handler.actions.actions[0].type=log",
    ]];
    if namespace.knows(&KINDS_OF_OTHERS) {
        for (authentication, trigger, monitor) in [
            (
                "kafka.strimzi.authentication=tls",
                "autoscaling.handler.trigger=kafka",
                "monitoring.podMonitor.enabled=true",
            ),
            (
                "kafka.strimzi.authentication=scram-sha-512",
                "autoscaling.handler.trigger=prometheus",
                "monitoring.serviceMonitor.enabled=true",
            ),
        ] {
            installations.push(vec![
                "kafka.strimzi.cluster=my-cluster",
                authentication,
                "autoscaling.tracker.mode=keda",
                "autoscaling.handler.mode=keda",
                trigger,
                monitor,
                "monitoring.prometheusRule.enabled=true",
                "monitoring.dashboards.enabled=true",
            ]);
        }
    }
    for values in installations {
        let Some(rendered) = template(&values) else {
            return;
        };
        let rendered = rendered.unwrap().replace(
            "namespace: \"sessions\"",
            &format!("namespace: {}", namespace.name),
        );
        let output = namespace.kubectl(
            &[
                "apply",
                "--server-side",
                "--force-conflicts",
                "--dry-run=server",
                "-f",
                "-",
            ],
            &rendered,
        );
        assert!(!output.contains("Warning"), "{output}");
        assert!(
            output.contains("deployment.apps/demo-sundown-tracker serverside-applied"),
            "{output}"
        );
    }
}

#[test]
fn a_server_accepts_the_kafkas_of_the_manifests() {
    let Some(namespace) = Namespace::create("sundown-chart-kafkas") else {
        return;
    };
    if !namespace.knows(&["kafkas.kafka.strimzi.io", "kafkanodepools.kafka.strimzi.io"]) {
        return;
    }
    for name in ["kafka", "kafka-production"] {
        let path = format!("{}/manifests/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let output = namespace.kubectl(
            &[
                "apply",
                "--server-side",
                "--dry-run=server",
                "--namespace",
                namespace.name,
                "-f",
                &path,
            ],
            "",
        );
        assert!(!output.contains("Warning"), "{output}");
        assert!(
            output.contains("kafka.kafka.strimzi.io/my-cluster"),
            "{output}"
        );
    }
}

#[test]
fn the_notes_of_an_upgrade_name_topics_that_grow() {
    let Some(namespace) = Namespace::create("sundown-chart-grown") else {
        return;
    };
    if !namespace.knows(&[
        "kafkatopics.kafka.strimzi.io",
        "kafkausers.kafka.strimzi.io",
    ]) {
        return;
    }
    let release = |command: &[&str], partitions: &str| {
        let partitions = format!("kafka.strimzi.topics.partitions={partitions}");
        let kubeconfig = namespace.kubeconfig.to_str().unwrap();
        let connection = ["--kubeconfig", kubeconfig, "--namespace", namespace.name];
        let values = ["crds.install=false", STRIMZI, &partitions];
        let mut arguments = [command, &["demo", CHART], &connection].concat();
        for value in values {
            arguments.extend(["--set", value]);
        }
        let output = helm(&arguments)?;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert!(output.status.success(), "{}", text(output.stderr));
        let output = text(output.stdout);
        Some(output.split_once("NOTES:\n").unwrap().1.to_owned())
    };
    let grow = "Topics grow from 3 to 6 partitions.";
    let Some(notes) = release(&["install"], "3") else {
        return;
    };
    assert!(!notes.contains("partitions"), "{notes}");
    let notes = release(&["upgrade"], "3").unwrap();
    assert!(!notes.contains("partitions"), "{notes}");
    let notes = release(&["upgrade", "--dry-run=server"], "6").unwrap();
    assert!(notes.contains(grow), "{notes}");
    let notes = release(&["upgrade"], "6").unwrap();
    assert!(notes.contains(grow), "{notes}");
    let notes = release(&["upgrade", "--dry-run=server"], "2").unwrap();
    assert!(notes.contains("Topics keep 6 partitions"), "{notes}");
}

/// What Argo CD and Flux would call drift.
#[test]
fn applying_it_again_changes_nothing() {
    let Some(namespace) = Namespace::create("sundown-chart-again") else {
        return;
    };
    let mut values = vec![
        // Its definition belongs to all namespaces of the cluster.
        "crds.install=false",
        "networkPolicy.enabled=true",
        "console.authTokenSecret=console",
        "console.ingress.enabled=true",
        "handler.actions.actions[0].name=log",
        "handler.actions.actions[0].type=log",
        "handler.jwks.enabled=true",
        "pods.podLabels.team=identity",
    ];
    values.extend(if namespace.knows(&KINDS_OF_OTHERS) {
        &[
            "kafka.strimzi.cluster=my-cluster",
            "autoscaling.tracker.mode=keda",
            "autoscaling.handler.mode=hpa",
            "monitoring.podMonitor.enabled=true",
            "monitoring.prometheusRule.enabled=true",
            "monitoring.dashboards.enabled=true",
        ][..]
    } else {
        &[
            "kafka.bootstrapServers=kafka:9092",
            "autoscaling.handler.mode=hpa",
        ]
    });
    let Some(rendered) = template(&values) else {
        return;
    };
    let rendered = rendered.unwrap().replace(
        "namespace: \"sessions\"",
        &format!("namespace: {}", namespace.name),
    );
    // Helm alone runs the test's pod.
    let objects = rendered.split("\n---\n");
    let objects: Vec<_> = objects
        .filter(|object| !object.contains("helm.sh/hook: test"))
        .collect();
    let objects = objects.join("\n---\n");
    let apply = [
        "apply",
        "--server-side",
        "--field-manager=deployer",
        "-f",
        "-",
    ];
    let first = namespace.kubectl(&apply, &objects);
    assert!(!first.contains("Warning"), "{first}");
    let again = [
        "diff",
        "--server-side",
        "--field-manager=deployer",
        "-f",
        "-",
    ];
    let difference = namespace.run(&again, &objects);
    let text = String::from_utf8_lossy(&difference.stdout);
    assert!(difference.status.success(), "{text}{difference:?}");
}
