//! The language of the project: words that sources, docs and commit subjects avoid.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot continue panics with what it found"
)]

mod sources;
mod subjects;
mod words;

use std::collections::BTreeMap;

use sources::Text;
use words::{Entry, List};

const LIST: &str = include_str!("words.txt");

#[test]
fn sources_and_docs_use_the_terms_of_the_field() {
    let list = List::parse(LIST).unwrap();
    let texts = sources::read_all();
    assert!(texts.len() > 300, "sources and docs moved");
    let mut failures = Vec::new();
    let mut pending: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for text in &texts {
        for (line, entry, found) in matches(&list, text) {
            let place = match line {
                0 => format!("{}: file name", text.path),
                line => format!("{}:{line}", text.path),
            };
            if entry.is_pending {
                pending.entry(&entry.pattern).or_default().push(place);
            } else {
                failures.push(format!("{place}: \"{found}\": write {}", entry.instead));
            }
        }
    }
    for (pattern, places) in pending {
        println!("pending: {pattern}: {} ({})", places.len(), places[0]);
    }
    assert!(
        failures.is_empty(),
        "words that tests/language/words.txt replaces:\n{}",
        failures.join("\n")
    );
}

#[test]
fn commit_subjects_are_imperative_and_use_the_terms_of_the_field() {
    let list = List::parse(LIST).unwrap();
    let Some(commits) = subjects::since_the_first_checked() else {
        println!("skipped: commit subjects need a git checkout with the history");
        return;
    };
    let failures: Vec<String> = commits
        .iter()
        .flat_map(|(id, subject)| {
            let problems = subjects::problems(subject, &list);
            problems
                .into_iter()
                .map(move |problem| format!("{id} \"{subject}\": {problem}"))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn words_are_found_in_prose_and_in_identifiers() {
    let list = List::parse("read anew | refetch\nsay/says so | the behavior\n").unwrap();
    for (text, line) in [
        ("it is\n/// read\n/// anew here", 2),
        ("fn read_anew()", 1),
        ("struct ReadAnew;", 1),
        ("const READ_ANEW: u8", 1),
        ("it is skipped, and says so", 1),
    ] {
        let found = list.find_words(text);
        let lines: Vec<usize> = found.iter().map(|(line, ..)| *line).collect();
        assert_eq!(lines, [line], "{text}");
    }
    for text in ["read. Anew", "renewal", "read, anew2", "says. So"] {
        assert_eq!(list.find_words(text).len(), 0, "{text}");
    }
}

#[test]
fn names_are_found_in_code_alone() {
    let list = List::parse("`Claim` | PartitionLease\n").unwrap();
    let code = "// A Claim.\nfn f(\n    claim: &Claim,\n    b: ClaimSet,\n) { g(\"Claim\") }\n";
    let found = list.find_names(code);
    let lines: Vec<usize> = found.iter().map(|(line, ..)| *line).collect();
    assert_eq!(lines, [3]);
}

#[test]
fn a_list_with_a_line_that_is_no_entry_is_refused() {
    for line in ["word", "word |", "| instead", "two words` | x", "[else]"] {
        assert!(List::parse(line).is_err(), "{line}");
    }
}

fn matches<'a>(list: &'a List, text: &Text) -> Vec<(usize, &'a Entry, String)> {
    let in_path = list
        .find_words(&text.path)
        .into_iter()
        .map(|(_, entry, found)| (0, entry, found));
    let mut found: Vec<_> = in_path.chain(list.find_words(&text.content)).collect();
    if text.path.ends_with(".rs") {
        found.extend(list.find_names(&text.content));
    }
    found
}
