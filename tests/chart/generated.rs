//! Generated files of the chart. `UPDATE=1 cargo test --test chart` generates them again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use serde::Serialize;
use sundown::kafka::TopicArgs;
use sundown::kafka::topics::{Layout, catalogue};

use crate::helm::CHART;

/// Compares a file with what it should be, or makes it so.
pub(crate) fn in_step(path: &str, expected: &str) {
    let path = format!("{CHART}/{path}");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{path} is out of step: run `UPDATE=1 cargo test --test chart`"
    );
}

#[test]
fn topics_are_those_that_the_program_asks_for() {
    #[derive(Serialize)]
    struct Topic {
        name: String,
        /// Has one partition, however many the others have.
        single: bool,
        config: BTreeMap<&'static str, String>,
    }
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        topics: TopicArgs,
    }
    let many = 7;
    let names = Flags::parse_from(["test"]).topics.topics();
    let topics = catalogue(&names, Layout::new(Some(many)));
    let topics: Vec<_> = topics
        .into_iter()
        .map(|topic| Topic {
            single: topic.partitions != many,
            name: topic.name,
            config: topic
                .configs
                .iter()
                .map(|config| (config.key, config.setting.value()))
                .collect(),
        })
        .collect();
    let yaml = serde_yaml::to_string(&topics).unwrap();
    in_step(
        "files/topics.yaml",
        &format!("# Made from src/kafka/topics/catalogue.rs.\n{yaml}"),
    );
}

#[test]
fn the_icon_is_that_of_the_docs() {
    let icon = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/images/icon.svg")).unwrap();
    let icon = format!("icon: data:image/svg+xml;base64,{}", STANDARD.encode(icon));
    let chart = fs::read_to_string(format!("{CHART}/Chart.yaml")).unwrap();
    assert!(chart.lines().any(|line| line == icon), "{icon}");
}

#[test]
fn the_readme_lists_every_value() {
    let values = fs::read_to_string(format!("{CHART}/values.yaml")).unwrap();
    let readme = fs::read_to_string(format!("{CHART}/README.md")).unwrap();
    let (before, rest) = readme.split_once("<!-- values -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of values -->").unwrap();
    let table = table(&values);
    in_step(
        "README.md",
        &format!("{before}<!-- values -->\n{table}<!-- end of values -->{after}"),
    );
}

/// The values with a `# --` comment, as a table.
fn table(values: &str) -> String {
    let mut table = String::from("| value | default | meaning |\n|---|---|---|\n");
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut meaning = None;
    let defaults: serde_json::Value = serde_yaml::from_str(values).unwrap();
    for line in values.lines() {
        let text = line.trim_start();
        if let Some(comment) = text.strip_prefix("# -- ") {
            meaning = Some(comment);
            continue;
        }
        let Some((key, _)) = text
            .split_once(':')
            .filter(|(key, _)| key.chars().all(char::is_alphanumeric))
        else {
            continue;
        };
        let indent = line.len() - text.len();
        path.retain(|(outer, _)| *outer < indent);
        path.push((indent, key));
        if let Some(meaning) = meaning.take() {
            let keys: Vec<_> = path.iter().map(|(_, key)| *key).collect();
            let default = defaults.pointer(&format!("/{}", keys.join("/"))).unwrap();
            writeln!(table, "| `{}` | `{default}` | {meaning} |", keys.join(".")).unwrap();
        }
    }
    table
}
