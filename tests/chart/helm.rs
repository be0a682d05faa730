//! Helm, as installed on this machine.

use std::process::{Command, Output};

/// Where the chart is.
pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/sundown");

/// The one value that has to be set: brokers of some kind,
pub(crate) const BROKERS: &str = "kafka.bootstrapServers=kafka:9092";
/// or a Kafka of Strimzi's.
pub(crate) const STRIMZI: &str = "kafka.strimzi.cluster=my-cluster";

/// Runs helm; `None`, and a line on stderr, if there is none here. With
/// `SUNDOWN_TEST_REQUIRE_HELM` set its absence is a failure.
pub(crate) fn helm(arguments: &[&str]) -> Option<Output> {
    match Command::new("helm").args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            assert!(
                std::env::var_os("SUNDOWN_TEST_REQUIRE_HELM").is_none(),
                "helm cannot be run: {error}"
            );
            eprintln!("SKIPPED: helm is not installed, so nothing is known of the chart");
            None
        }
    }
}

/// What the chart renders with these `--set` values, or what helm says against it.
pub(crate) fn template(values: &[&str]) -> Option<Result<String, String>> {
    with_values(&["template", "demo", CHART], values)
}

/// The notes that helm prints after an installation with these `--set` values.
pub(crate) fn notes(values: &[&str]) -> Option<String> {
    let output = with_values(&["install", "demo", CHART, "--dry-run=client"], values)?.unwrap();
    let (_rendered, notes) = output.split_once("NOTES:\n").unwrap();
    Some(notes.to_owned())
}

fn with_values(command: &[&str], values: &[&str]) -> Option<Result<String, String>> {
    let mut arguments = [command, &["--namespace", "sessions"]].concat();
    for value in values {
        arguments.extend(["--set", value]);
    }
    let output = helm(&arguments)?;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Some(if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    })
}
