//! axe-core, which finds faults of pages that keep people from using them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::chromium::Chromium;

const VERSION: &str = "4.14.1";
/// Set, it makes a missing npm a failure.
const REQUIRED: &str = "SUNDOWN_TEST_REQUIRE_AXE";

/// What it finds on the page, one line a fault; none if it cannot be had.
pub fn faults(chromium: &mut Chromium) -> Option<Vec<String>> {
    chromium.eval(source()?);
    let result = chromium.eval("axe.run(document, {resultTypes: ['violations']})");
    let violations = result["violations"].as_array().expect("a list");
    let told = violations.iter().map(|violation| {
        let nodes = violation["nodes"].as_array().map(Vec::as_slice);
        let nodes = nodes.unwrap_or_default().iter();
        let places: Vec<&Value> = nodes.map(|node| &node["html"]).take(3).collect();
        format!("{}: {} {places:?}", violation["id"], violation["help"])
    });
    Some(told.collect())
}

/// The script, fetched once and kept.
fn source() -> Option<&'static str> {
    static SOURCE: OnceLock<Option<String>> = OnceLock::new();
    let source = SOURCE.get_or_init(|| {
        let folder = cache().join(format!("axe-core-{VERSION}"));
        let file = folder.join("node_modules/axe-core/axe.min.js");
        if !file.exists() && !fetch(&folder) {
            assert!(std::env::var_os(REQUIRED).is_none(), "there is no npm");
            eprintln!("SKIPPED: npm cannot fetch axe-core {VERSION}; accessibility goes untested");
            return None;
        }
        Some(std::fs::read_to_string(file).expect("axe-core"))
    });
    source.as_deref()
}

/// Into a folder beside, then into place at once: an interruption leaves nothing half done.
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
        // Another run may have been faster.
        let _ = std::fs::rename(&unfinished, folder);
    }
    let _ = std::fs::remove_dir_all(unfinished);
    fetched
}

/// As `.ci/run` and `tests/kafka/kafka` have it.
fn cache() -> PathBuf {
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let home = || of("HOME").unwrap_or_default().join(".cache");
    of("SUNDOWN_CACHE").unwrap_or_else(|| of("XDG_CACHE_HOME").unwrap_or_else(home).join("sundown"))
}
