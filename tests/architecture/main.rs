//! Rules about the source that no compiler checks.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says what it saw"
)]

mod floors;
mod imports;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the session core may be built of besides itself. `proptest` is for its unit
/// tests.
const PURE_CRATES: [&str; 5] = [
    "hashbrown",
    "proptest",
    "siphasher",
    "thiserror",
    "wildmatch",
];

/// What of `std` reaches nothing outside the process.
const PURE_STD: [&str; 15] = [
    "std::borrow",
    "std::boxed",
    "std::cmp",
    "std::collections",
    "std::convert",
    "std::fmt",
    "std::hash",
    "std::hint",
    "std::iter",
    "std::mem",
    "std::num",
    "std::ops",
    "std::slice",
    "std::str",
    "std::sync::Arc",
];

/// What is in scope without reaching outside: primitive types, lints, functions and modules
/// that have been imported.
const PURE_NAMES: [&str; 13] = [
    "any", "bool", "char", "clippy", "fmt", "i32", "i64", "size_of", "str", "u16", "u32", "u64",
    "usize",
];

/// What is random in each process, if only in the order of its iteration.
const RANDOM: [&str; 3] = ["HashMap", "HashSet", "RandomState"];

/// The longest file that still reads well, in lines.
const MAX_LINES: usize = 400;

/// What says that something is unfinished; put together so as not to be found here.
const UNFINISHED: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
];

#[test]
fn the_session_core_reaches_nothing_outside() {
    let mut files = rust_files("src/session");
    files.push(root().join("src/session.rs"));
    let modules: Vec<&str> = files.iter().filter_map(|file| stem(file)).collect();
    assert!(modules.contains(&"table"), "the session core has moved");
    for file in &files {
        let found = impurities(&read(file), &modules);
        assert!(
            found.is_empty(),
            "{}: {found:?}: the session core takes what it needs as arguments and gives \
             out effects; if this is pure, add it to the lists in tests/architecture.rs",
            file.display()
        );
    }
}

#[test]
fn what_would_reach_outside_is_found() {
    for line in [
        "use std::fs;",
        "use std::{fmt, time::Instant};",
        "use std::time::SystemTime;",
        "use std::sync::Mutex;",
        "use rdkafka;",
        "pub use tokio::sync::mpsc;",
        "extern crate rand;",
        "use std::collections::{HashMap, VecDeque};",
        "let state = std::hash::RandomState::new();",
        "use crate::kafka::names;",
        "use crate::{clock, session};",
        "use super::super::kafka::client;",
        "let now = std::time::Instant::now();",
        "tracing::info!(\"hello\"); // said twice",
        "let id = uuid::Uuid::new_v4();",
        "let at = chrono::Utc::now();",
        "fn spawn() { std::thread::spawn(|| {}); }",
    ] {
        assert!(!impurities(line, &["table"]).is_empty(), "{line}");
    }
}

#[test]
fn what_reaches_nothing_outside_is_not_found() {
    for line in [
        "use std::collections::{BTreeMap, VecDeque};",
        "use std::sync::Arc;",
        "use hashbrown::HashTable;",
        "pub use table::{Applied, SessionTable};",
        "use super::super::table::SessionTable;",
        "use crate::session::table::SessionTable;",
        "use proptest::prelude::*;",
        "let least = i64::MIN.max(Timestamp::MIN.as_millis());",
        "// std::fs::read would be impure",
        "let f = <Vec<u8> as Default>::default;",
    ] {
        assert_eq!(impurities(line, &["table"]), Vec::<String>::new(), "{line}");
    }
}

#[test]
fn files_are_short() {
    for file in all_rust_files() {
        let lines = read(&file).lines().count();
        assert!(
            lines <= MAX_LINES,
            "{}: {lines} lines: split it by what its parts are about",
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
    // Where the sources lie in another repository, git would pass over all of them.
    let is_checkout = git(&["rev-parse"]).is_ok_and(|said| said.status.success());
    if !root().join(".git").exists() || !is_checkout {
        eprintln!("skipped: whether patches apply is asked in a git checkout, of git");
        return;
    }
    let patches = files("tests/simulation/mistakes", "patch");
    assert!(!patches.is_empty(), "the mistakes have moved");
    for patch in patches {
        let checked = git(&["apply", "--check", patch.to_str().unwrap()]).unwrap();
        let error = String::from_utf8_lossy(&checked.stderr);
        assert!(
            checked.status.success(),
            "{}: {error}make the same mistake in the code as it is now",
            patch.display()
        );
    }
}

/// What in `source` leads out of the session core, whose modules are given.
fn impurities(source: &str, modules: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for line in source.lines() {
        let code = line.split("//").next().unwrap_or_default().trim();
        let words = || code.split(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c)));
        let imported = words()
            .skip_while(|word| !["use", "extern"].contains(word))
            .nth(1);
        let impure = |word: &&str| {
            let is_path = word.contains("::") || Some(*word) == imported;
            let is_random = word.split("::").any(|part| RANDOM.contains(&part));
            is_random || is_path && !stays_inside(word, modules)
        };
        found.extend(words().filter(impure).map(str::to_owned));
    }
    found
}

fn stays_inside(path: &str, modules: &[&str]) -> bool {
    let mut segments = path
        .split("::")
        .skip_while(|segment| ["super", "self"].contains(segment));
    let first = segments.next().unwrap_or_default();
    let in_std = |pure: &str| path == pure || path.starts_with(&format!("{pure}::"));
    match first {
        "std" => PURE_STD.into_iter().any(in_std),
        "crate" => segments.next() == Some("session"),
        // A group behind `super::`, or the rest of `<T as Trait>::name`.
        "" => true,
        // A type, or a constant of the enclosing module.
        name if name.starts_with(|c: char| c.is_ascii_uppercase()) => true,
        name => {
            PURE_CRATES.contains(&name) || PURE_NAMES.contains(&name) || modules.contains(&name)
        }
    }
}

fn all_rust_files() -> Vec<PathBuf> {
    ["src", "tests", "benches"]
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

fn stem(file: &Path) -> Option<&str> {
    file.file_stem()?.to_str()
}
