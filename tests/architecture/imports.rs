//! Imports between the source files, read from their syntax trees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

use super::{read, root, rust_files};

/// A path of module names from the crate's root on; empty for the root itself.
type ModulePath = Vec<String>;

/// Every file of a crate, and the files it imports from.
pub(crate) struct ImportGraph {
    /// File to imported file, both relative to the folder of the sources, without `.rs`.
    pub imports: BTreeMap<String, BTreeSet<String>>,
}

impl ImportGraph {
    /// Reads all files under `folder`, test modules excepted.
    pub(crate) fn read(folder: &str) -> Self {
        let base = root().join(folder);
        let files = rust_files(folder).into_iter().map(|file| {
            let name = file.strip_prefix(&base).unwrap().with_extension("");
            (name.to_str().unwrap().to_owned(), read(&file))
        });
        Self::of(files)
    }

    /// Reads named sources.
    pub(crate) fn of(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut modules = BTreeMap::new();
        for (name, source) in files {
            if name == "main" || Path::new(&name).ends_with("tests") {
                continue;
            }
            let syntax = syn::parse_file(&source).unwrap_or_else(|error| panic!("{name}: {error}"));
            modules.insert(module_path(&name), Module::of(name, &syntax.items));
        }
        let mut imports = BTreeMap::new();
        for (path, module) in &modules {
            let reached = module.paths.iter();
            let mut found: BTreeSet<String> = reached
                .filter_map(|target| defining_file(&modules, path, target))
                .collect();
            found.remove(&module.file);
            imports.insert(module.file.clone(), found);
        }
        Self { imports }
    }

    /// Groups of files that import each other, directly or by way of others.
    pub(crate) fn circles(&self) -> Vec<Vec<&str>> {
        let mut left: BTreeSet<&str> = self.imports.keys().map(String::as_str).collect();
        let mut circles = Vec::new();
        while let Some(first) = left.first().copied() {
            let reached = self.reached_from(first);
            let mut circle: Vec<&str> = reached
                .iter()
                .copied()
                .filter(|file| self.reached_from(file).contains(first))
                .collect();
            left.remove(first);
            left.retain(|file| !circle.contains(file));
            if !circle.is_empty() {
                if !circle.contains(&first) {
                    circle.push(first);
                }
                circles.push(circle);
            }
        }
        circles
    }

    /// Files that are imported by `file`, directly or by way of others.
    fn reached_from(&self, file: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut left = vec![file];
        while let Some(file) = left.pop() {
            for import in self.imports.get(file).into_iter().flatten() {
                if reached.insert(import.as_str()) {
                    left.push(import);
                }
            }
        }
        reached
    }
}

/// One file's paths.
struct Module {
    file: String,
    /// Absolute and relative paths in imports and code, `self` and `super` resolved.
    paths: BTreeSet<ModulePath>,
    /// Names that the file re-exports, and where they come from; `None` for another crate.
    reexports: BTreeMap<String, Option<ModulePath>>,
}

impl Module {
    fn of(file: String, items: &[Item]) -> Self {
        let path = module_path(&file);
        let children = items.iter().filter_map(|item| match item {
            Item::Mod(child) if child.content.is_none() => Some(child.ident.to_string()),
            _ => None,
        });
        let mut collector = Collector {
            children: children.collect(),
            module: Self {
                file,
                paths: BTreeSet::new(),
                reexports: BTreeMap::new(),
            },
            path,
        };
        items.iter().for_each(|item| collector.visit_item(item));
        collector.module
    }
}

struct Collector {
    path: ModulePath,
    children: BTreeSet<String>,
    module: Module,
}

impl Collector {
    /// The absolute form of a path; none for one that leads out of the crate.
    fn absolute(&self, segments: &[String]) -> Option<ModulePath> {
        let mut base = self.path.clone();
        let mut rest = segments;
        match rest.first()?.as_str() {
            "crate" => {
                base.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            child if self.children.contains(child) => {}
            _ => return None,
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    fn import(&mut self, tree: &UseTree, mut before: Vec<String>, is_public: bool) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before, is_public);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before.clone(), is_public);
                }
            }
            UseTree::Glob(_) => self.add(&before, None),
            UseTree::Name(name) if name.ident == "self" => self.add(&before, None),
            UseTree::Name(name) => {
                before.push(name.ident.to_string());
                self.add(&before, is_public.then(|| name.ident.to_string()));
            }
            UseTree::Rename(rename) => {
                before.push(rename.ident.to_string());
                self.add(&before, is_public.then(|| rename.rename.to_string()));
            }
        }
    }

    /// Adds a path, unless it is re-exported: that is resolved where it is used.
    fn add(&mut self, segments: &[String], reexported_as: Option<String>) {
        let path = self.absolute(segments);
        match reexported_as {
            Some(name) => {
                self.module.reexports.insert(name, path);
            }
            None => self.module.paths.extend(path),
        }
    }
}

impl<'a> Visit<'a> for Collector {
    fn visit_item_use(&mut self, item: &'a ItemUse) {
        let is_public = !matches!(item.vis, Visibility::Inherited);
        self.import(&item.tree, Vec::new(), is_public);
    }

    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_visibility(&mut self, _: &'a Visibility) {}

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|one| one.ident.to_string())
            .collect();
        if segments.len() > 1 {
            self.add(&segments, None);
        }
        visit::visit_path(self, path);
    }
}

pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    let is_cfg = |one: &&Attribute| one.path().is_ident("cfg");
    let mut cfgs = attributes.iter().filter(is_cfg);
    cfgs.any(|one| {
        one.parse_args::<syn::Ident>()
            .is_ok_and(|name| name == "test")
    })
}

/// The file that defines what a path names: re-exports are followed.
fn defining_file(
    modules: &BTreeMap<ModulePath, Module>,
    importer: &ModulePath,
    target: &ModulePath,
) -> Option<String> {
    let mut target = target.clone();
    // Bounded, should re-exports lead to each other.
    for _ in 0..8 {
        let known = (0..=target.len())
            .rev()
            .find(|&n| modules.contains_key(&target[..n]))?;
        let module = &modules[&target[..known]];
        let reexported = target
            .get(known)
            .and_then(|name| module.reexports.get(name));
        let Some(elsewhere) = reexported else {
            // An item of an inline module, or of the importing file.
            return (target[..known] != importer[..]).then(|| module.file.clone());
        };
        let mut followed = elsewhere.clone()?;
        followed.extend_from_slice(&target[known + 1..]);
        target = followed;
    }
    None
}

fn module_path(file: &str) -> ModulePath {
    match file {
        "lib" => Vec::new(),
        file => file.split('/').map(str::to_owned).collect(),
    }
}
