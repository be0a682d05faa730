//! Rules about the source that the compiler does not check.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot continue panics with what it found"
)]

mod floors;
mod imports;
mod type_names;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The bound on the length of a source file, in lines.
const MAX_LINES: usize = 400;

/// Marks of unfinished code, assembled so that this file does not contain them.
const UNFINISHED: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
];

#[test]
fn files_are_short() {
    for file in all_rust_files() {
        let lines = read(&file).lines().count();
        assert!(
            lines <= MAX_LINES,
            "{}: {lines} lines: split it by topic",
            file.display()
        );
    }
}

#[test]
fn nothing_is_unfinished() {
    for file in all_rust_files() {
        let source = read(&file);
        for mark in UNFINISHED {
            assert!(!source.contains(mark), "{}: {mark}", file.display());
        }
    }
}

#[test]
fn the_mistakes_for_the_simulation_can_still_be_made() {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(root()).args(arguments).output()
    };
    // In a folder of another repository, git would skip all patches.
    let is_checkout = git(&["rev-parse"]).is_ok_and(|output| output.status.success());
    if !root().join(".git").exists() || !is_checkout {
        eprintln!("skipped: patches are checked in a git checkout only");
        return;
    }
    let patches = files("tests/simulation/mistakes", "patch");
    assert!(!patches.is_empty(), "the mistakes have moved");
    for patch in patches {
        let checked = git(&["apply", "--check", patch.to_str().unwrap()]).unwrap();
        let error = String::from_utf8_lossy(&checked.stderr);
        assert!(
            checked.status.success(),
            "{}: {error}renew the patch for the present code",
            patch.display()
        );
    }
}

fn all_rust_files() -> Vec<PathBuf> {
    ["src", "crates", "tests", "benches"]
        .iter()
        .flat_map(|folder| rust_files(folder))
        .collect()
}

/// All Rust files under a folder of the project.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    files(folder, "rs")
}

/// All files of one kind under a folder of the project.
fn files(folder: &str, kind: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == kind) {
                files.push(path);
            }
        }
    }
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}
