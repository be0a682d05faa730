//! One name for one type: no name is defined twice.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};
use syn::{Ident, ItemEnum, ItemMod, ItemStruct, ItemTrait, ItemType};

use super::imports::is_for_tests;
use super::{read, root, rust_files};

/// Names that may be defined more than once, and why.
const REPEATED: [(&str, &str); 0] = [];

#[test]
fn no_two_types_share_a_name() {
    let mut types = TypeNames::default();
    for file in ["src", "crates/session/src"]
        .into_iter()
        .flat_map(rust_files)
    {
        if !file.ends_with("tests.rs") {
            let name = file.strip_prefix(root()).unwrap().display().to_string();
            types.add(&name, &read(&file));
        }
    }
    assert!(types.files.len() > 300, "the sources have moved");
    let mut repeated = types.repeated();
    repeated.retain(|name, _| !REPEATED.iter().any(|(allowed, _)| allowed == name));
    assert!(
        repeated.is_empty(),
        "types that share a name: {repeated:#?}\nname each for what it is"
    );
}

#[test]
fn types_that_share_a_name_are_found() {
    let mut types = TypeNames::default();
    types.add(
        "one",
        "struct Outcome; trait Io { type Error; } #[cfg(test)] mod tests { struct Row; }",
    );
    types.add(
        "two",
        "fn f() { enum Outcome {} } impl Io for X { type Error = (); } struct Row;",
    );
    let expected = BTreeMap::from([("Outcome", vec!["one", "two"])]);
    assert_eq!(types.repeated(), expected);
}

/// The files that define each name, test modules and associated types excepted.
#[derive(Default)]
struct TypeNames {
    files: BTreeMap<String, Vec<String>>,
    file: String,
}

impl TypeNames {
    fn add(&mut self, file: &str, source: &str) {
        let syntax = syn::parse_file(source).unwrap_or_else(|error| panic!("{file}: {error}"));
        file.clone_into(&mut self.file);
        self.visit_file(&syntax);
    }

    fn define(&mut self, name: &Ident) {
        let files = self.files.entry(name.to_string()).or_default();
        files.push(self.file.clone());
    }

    fn repeated(&self) -> BTreeMap<&str, Vec<&str>> {
        let names = self.files.iter().filter(|(_, files)| files.len() > 1);
        names
            .map(|(name, files)| (name.as_str(), files.iter().map(String::as_str).collect()))
            .collect()
    }
}

impl<'a> Visit<'a> for TypeNames {
    fn visit_item_mod(&mut self, item: &'a ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'a ItemStruct) {
        self.define(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'a ItemEnum) {
        self.define(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'a ItemTrait) {
        self.define(&item.ident);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'a ItemType) {
        self.define(&item.ident);
    }
}
