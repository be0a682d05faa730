//! Policies in their topic: written by `sundown policy`, applied by trackers.

mod actions;
mod command;
mod limits;
mod simulation;
mod trackers;

use std::fs;

use serde_json::Value;
use tempfile::NamedTempFile;

use crate::pipeline::policies::activity;
use crate::support::installation::{Installation, SOON};
use crate::support::process::{Launch, Stream};

/// A policy with this spec, in YAML's flow form.
fn policy(name: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: sundown.dev/v1alpha1
kind: SessionPolicy
metadata: {{name: {name}}}
spec: {spec}
"
    )
}

/// A policy for one tenant, of the tenant's name.
fn tenant(name: &str, idle: &str) -> String {
    let spec = format!("{{idleTimeout: {idle}, match: {{attributes: {{tenant: {name}}}}}}}");
    policy(name, &spec)
}

fn file(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    fs::write(file.path(), text).expect("the file is written");
    file
}

/// What a command printed and how it ended.
#[derive(Debug)]
struct Output {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Output {
    fn of(launch: Launch) -> Self {
        let mut process = launch.start();
        let status = process.wait(SOON);
        Self {
            code: status.code(),
            stdout: process.text(Stream::Stdout),
            stderr: process.text(Stream::Stderr),
        }
    }

    #[track_caller]
    fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self.stdout
    }

    #[track_caller]
    fn failed(self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{}", self.stdout);
        for word in words {
            assert!(
                self.stderr.contains(word),
                "no '{word}' in: {}",
                self.stderr
            );
        }
    }
}

/// `sundown policy` with these arguments.
fn run(installation: &Installation<'_>, args: &[&str]) -> Output {
    Output::of(installation.sundown(&[&["policy"], args].concat()))
}

/// `sundown policy apply` of this text.
fn apply(installation: &Installation<'_>, text: &str) -> Output {
    let file = file(text);
    let path = file.path().to_str().expect("a path in UTF-8");
    run(installation, &["apply", "-f", path])
}

/// The latest report of each process.
fn reports(installation: &Installation<'_>) -> Vec<Value> {
    let mut latest = std::collections::BTreeMap::new();
    for record in installation.read("sundown.processes") {
        latest.insert(record.key.clone(), record.json());
    }
    latest.into_values().collect()
}
