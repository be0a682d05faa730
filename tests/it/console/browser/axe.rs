//! axe-core, an accessibility checker.

use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::chromium::Chromium;
use crate::third_party::{REQUIRED, cache};

const VERSION: &str = "4.14.1";

/// Accessibility violations of the page, one per line; `None` if axe-core is not available.
pub fn faults(chromium: &mut Chromium) -> Option<Vec<String>> {
    chromium.eval(source()?);
    let result = chromium.eval("axe.run(document, {resultTypes: ['violations']})");
    let violations = result["violations"].as_array().expect("a list");
    let lines = violations.iter().map(|violation| {
        let nodes = violation["nodes"].as_array().map(Vec::as_slice);
        let nodes = nodes.unwrap_or_default().iter();
        let places: Vec<&Value> = nodes.map(|node| &node["html"]).take(3).collect();
        format!("{}: {} {places:?}", violation["id"], violation["help"])
    });
    Some(lines.collect())
}

/// The script, fetched once and cached.
fn source() -> Option<&'static str> {
    static SOURCE: OnceLock<Option<String>> = OnceLock::new();
    let source = SOURCE.get_or_init(|| {
        let folder = cache().join(format!("axe-core-{VERSION}"));
        let file = folder.join("node_modules/axe-core/axe.min.js");
        if !file.exists() && !fetch(&folder) {
            assert!(std::env::var_os(REQUIRED).is_none(), "npm is not installed");
            eprintln!("SKIPPED: npm cannot fetch axe-core {VERSION}; accessibility is not tested");
            return None;
        }
        Some(std::fs::read_to_string(file).expect("axe-core"))
    });
    source.as_deref()
}

/// Installs into a temporary folder and renames it, so that an interruption leaves no partial
/// installation.
fn fetch(folder: &std::path::Path) -> bool {
    let unfinished = folder.with_extension(std::process::id().to_string());
    let fetched = Command::new("npm")
        .args([
            "install",
            "--silent",
            "--no-save",
            "--ignore-scripts",
            "--prefix",
        ])
        .arg(&unfinished)
        .arg(format!("axe-core@{VERSION}"))
        .status();
    let fetched = fetched.is_ok_and(|status| status.success());
    if fetched {
        // A concurrent run may have renamed its folder first.
        let _ = std::fs::rename(&unfinished, folder);
    }
    let _ = std::fs::remove_dir_all(unfinished);
    fetched
}
