//! Files that are generated from the code or describe it, and must change with it.
#![allow(
    clippy::unwrap_used,
    reason = "a failed test panics with what it observed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use sundown::policy::yaml::parse;

const POLICIES: &str = include_str!("../docs/reference/policies.md");
/// The chart reads it with `.Files.Get`.
const CHART_COPY: &str = "charts/sundown/files/crds.yaml";

#[test]
fn the_chart_has_the_definitions_that_the_code_makes() {
    let definitions = sundown::commands::crd::yaml().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(CHART_COPY);
    let copy = fs::read_to_string(path).unwrap_or_default();
    assert!(
        definitions == copy,
        "{CHART_COPY} is not what the code makes: cargo run -- crd > {CHART_COPY}"
    );
}

#[test]
fn the_page_of_policies_describes_every_field() {
    let definition = serde_json::to_value(sundown::policy::crd::definition::definition()).unwrap();
    let spec = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec");
    let mut fields = BTreeMap::new();
    describe(spec.unwrap(), "spec", &mut fields);
    let section = POLICIES.split("\n## ").nth(1).unwrap();
    let rows = section.lines().filter_map(|line| {
        let (field, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let (_, description) = rest.strip_suffix(" |")?.split_once(" | ")?;
        Some((field.to_owned(), description.to_owned()))
    });
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), fields);
}

/// Fields by their path, and what is said of them.
fn describe(schema: &Value, path: &str, fields: &mut BTreeMap<String, String>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let words = schema["description"].as_str().unwrap().split_whitespace();
        fields.insert(path.clone(), words.collect::<Vec<_>>().join(" "));
        describe(schema, &path, fields);
    }
}

#[test]
fn the_examples_on_the_page_of_policies_are_valid() {
    let blocks = POLICIES.split("```yaml\n").skip(1);
    let examples = blocks.filter_map(|block| block.split_once("```"));
    let parsed: Vec<_> = examples
        .flat_map(|(example, _)| parse(example, &mut BTreeSet::new()))
        .collect();
    assert!(parsed.len() > 5);
    for result in parsed {
        result.unwrap();
    }
}
