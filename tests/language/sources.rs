//! The texts that are checked.

use std::fs;
use std::path::Path;

const FOLDERS: [&str; 13] = [
    ".ci",
    ".devcontainer",
    ".github",
    "benches",
    "charts",
    "crates",
    "docs",
    "examples",
    "fuzz",
    "manifests",
    "src",
    "templates",
    "tests",
];

/// Not prose of the project, or the list itself.
const SKIPPED: [&str; 8] = [
    "Cargo.lock",
    "LICENSE",
    "artifacts",
    "corpus",
    "language",
    "node_modules",
    "package-lock.json",
    "target",
];

/// Output of tools, and patches, whose lines follow those of the sources.
const SKIPPED_ENDINGS: [&str; 3] = [".snap", ".patch", ".svg"];

pub(crate) struct Text {
    /// Relative to the project's root.
    pub path: String,
    pub content: String,
}

/// Reads all sources and docs.
pub(crate) fn read_all() -> Vec<Text> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    let mut paths: Vec<_> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    let top = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    paths.extend(top.map(|entry| entry.path()).filter(|path| path.is_file()));
    while let Some(path) = paths.pop() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_skipped =
            SKIPPED.contains(&name) || SKIPPED_ENDINGS.iter().any(|ending| name.ends_with(ending));
        if is_skipped {
            continue;
        }
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        } else if let Ok(content) = fs::read_to_string(&path) {
            let path = path.strip_prefix(root).unwrap();
            texts.push(Text {
                path: path.to_str().unwrap().to_owned(),
                content,
            });
        }
    }
    texts.sort_by(|a, b| a.path.cmp(&b.path));
    texts
}
