//! The floor plan: which module may import from which.

use std::collections::BTreeMap;

use super::imports::ImportGraph;
use super::{read, root};

#[test]
fn no_files_import_each_other_in_a_circle() {
    for folder in ["src", "crates/session/src"] {
        let graph = ImportGraph::read(folder);
        assert!(graph.imports.len() > 10, "{folder}: the sources have moved");
        let circles = graph.circles();
        assert!(
            circles.is_empty(),
            "{folder}: files that import each other: {circles:#?}\n\
             move what they share into a file of its own"
        );
    }
}

#[test]
fn no_module_imports_from_a_higher_floor() {
    let lib = read(&root().join("src/lib.rs"));
    let floors = floors(&lib);
    assert!(floors.len() > 10, "lib.rs lists the modules: {floors:?}");
    let upward = upward(&ImportGraph::read("src"), &floors);
    assert!(
        upward.is_empty(),
        "imports from a higher floor of src/lib.rs: {upward:#?}\nmove what is imported down"
    );
}

#[test]
fn a_circle_and_an_import_from_above_are_found() {
    let files = [
        (
            "lib",
            "pub use core_crate as core;\n\npub mod low;\n\npub mod high;\n",
        ),
        (
            "low",
            "use crate::core::Rock;\nuse crate::high::roof::Tile;\npub mod cellar;\n",
        ),
        ("low/cellar", "fn dig() -> super::Stone { super::Stone }"),
        ("high", "pub mod roof;\npub use roof::Tile;\n"),
        ("high/roof", "pub struct Tile(crate::low::cellar::Coal);"),
    ];
    let graph = ImportGraph::of(files.map(|(name, source)| (name.to_owned(), source.to_owned())));
    let low = graph.imports["low"].iter();
    assert!(
        low.eq(["high/roof"]),
        "a re-exported crate leads out of the graph"
    );
    assert_eq!(graph.circles(), [["high/roof", "low", "low/cellar"]]);
    let upward = upward(&graph, &floors("pub mod low;\n\npub mod high;\n"));
    assert_eq!(upward, ["low imports high/roof"]);
}

/// The floor of each module: `lib.rs` lists them from the ground up, a blank line between floors.
pub(crate) fn floors(lib: &str) -> BTreeMap<&str, usize> {
    let groups = lib.split("\n\n").filter(|group| group.contains("pub mod "));
    let modules = groups.enumerate().flat_map(|(floor, group)| {
        let names = group
            .lines()
            .filter_map(|line| line.strip_prefix("pub mod "));
        names.map(move |name| (name.trim_end_matches(';'), floor))
    });
    modules.collect()
}

pub(crate) fn upward(graph: &ImportGraph, floors: &BTreeMap<&str, usize>) -> Vec<String> {
    let floor = |file: &str| floors.get(file.split('/').next().unwrap_or_default());
    let imports = graph.imports.iter();
    let pairs = imports.flat_map(|(file, imports)| imports.iter().map(move |one| (file, one)));
    pairs
        .filter(|(file, imported)| floor(file) < floor(imported))
        .filter(|(file, _)| *file != "lib")
        .map(|(file, imported)| format!("{file} imports {imported}"))
        .collect()
}
