//! Files that are made from the code, and have to be made again when it changes.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says what it saw"
)]

use std::fs;
use std::path::Path;

/// The chart reads it with `.Files.Get`.
const CHART_COPY: &str = "charts/sundown/files/sessionpolicies.sundown.dev.yaml";

#[test]
fn the_chart_has_the_definition_that_the_code_makes() {
    let definition = sundown::crd::definition::yaml().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(CHART_COPY);
    let copy = fs::read_to_string(path).unwrap_or_default();
    assert!(
        definition == copy,
        "{CHART_COPY} is not what the code makes: cargo run -- crd > {CHART_COPY}"
    );
}
