//! Rendered objects of the chart.

use std::io::Write;

use serde::Deserialize;
use serde_json::Value;

use crate::helm::{CHART, helm, template};

/// The objects that these arguments render; `None` without helm.
pub(crate) fn objects(arguments: &[&str]) -> Option<Vec<Value>> {
    let output = helm(&[&["template"], arguments].concat())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    Some(parse(&String::from_utf8(output.stdout).unwrap()))
}

pub(crate) fn parse(rendered: &str) -> Vec<Value> {
    let objects = serde_yaml::Deserializer::from_str(rendered);
    let objects = objects.map(|object| Value::deserialize(object).unwrap());
    objects.filter(|object| !object.is_null()).collect()
}

pub(crate) fn with_values(values: &[&str]) -> Option<Vec<Value>> {
    Some(parse(&template(values)?.unwrap()))
}

/// What a file of values renders.
pub(crate) fn with_file(values: &Value) -> Option<Vec<Value>> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    // Helm parses the numbers of files as floating point, those of `--set` as integers.
    file.write_all(serde_yaml::to_string(values).unwrap().as_bytes())
        .unwrap();
    let path = file.path().to_str().unwrap();
    objects(&["demo", CHART, "--values", path])
}

pub(crate) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects
        .iter()
        .filter(|object| object["kind"] == kind)
        .collect()
}

pub(crate) fn deployment<'a>(objects: &'a [Value], role: &str) -> &'a Value {
    let label = "app.kubernetes.io/component";
    let mut found = of_kind(objects, "Deployment").into_iter();
    found
        .find(|object| object["metadata"]["labels"][label] == role)
        .unwrap()
}

pub(crate) fn variable<'a>(deployment: &'a Value, name: &str) -> Option<&'a str> {
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let mut variables = container["env"].as_array().unwrap().iter();
    variables.find(|variable| variable["name"] == name)?["value"].as_str()
}
