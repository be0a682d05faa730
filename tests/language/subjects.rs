//! Subjects of commits.

use std::process::Command;

use super::words::List;

/// Subjects of later commits are checked.
const FIRST_CHECKED: &str = "9b16ef3";

/// Commits that others had built on when the check first saw them.
const EXEMPT: [&str; 3] = ["1eeb9bd", "3d57873", "e025b84"];

const MAX_LENGTH: usize = 72;

/// Imperatives that look like another form.
const IMPERATIVES: [&str; 10] = [
    "bring", "embed", "exceed", "feed", "focus", "need", "proceed", "seed", "shed", "speed",
];

/// Id and subject of each commit; none outside a git checkout, and where the history is cut off.
pub(crate) fn since_the_first_checked() -> Option<Vec<(String, String)>> {
    let range = format!("{FIRST_CHECKED}..HEAD");
    let output = Command::new("git")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["log", "--no-merges", "--format=%h %s", &range])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let lines = String::from_utf8(output.stdout).ok()?;
    let split = |line: &str| {
        let (id, subject) = line.split_once(' ')?;
        let is_exempt = EXEMPT.iter().any(|exempt| id.starts_with(exempt));
        (!is_exempt).then(|| (id.to_owned(), subject.to_owned()))
    };
    Some(lines.lines().filter_map(split).collect())
}

/// What has to change in a subject. Names in backquotes may be any.
pub(crate) fn problems(subject: &str, list: &List) -> Vec<String> {
    let mut problems = Vec::new();
    let length = subject.chars().count();
    if length > MAX_LENGTH {
        problems.push(format!("{length} characters: at most {MAX_LENGTH}"));
    }
    if subject.ends_with('.') {
        problems.push("drop the period".to_owned());
    }
    if !subject.starts_with(|c: char| c.is_ascii_uppercase()) {
        problems.push("begin with an upper-case letter".to_owned());
    }
    let first = subject.split(' ').next().unwrap_or_default();
    if !is_imperative(&first.to_lowercase()) {
        problems.push(format!("\"{first}\": begin with an imperative"));
    }
    let lower = subject.to_lowercase();
    if lower.split(' ').any(|word| word == "wip") || lower.contains("work in progress") {
        problems.push("name the change".to_owned());
    }
    let prose: Vec<&str> = subject.split('`').step_by(2).collect();
    for (_, entry, found) in list.find_words(&prose.join(" . ")) {
        if !entry.is_pending {
            problems.push(format!("\"{found}\": write {}", entry.instead));
        }
    }
    problems
}

fn is_imperative(word: &str) -> bool {
    let is_other_form = word.ends_with("ing")
        || word.ends_with("ed")
        || word.ends_with('s') && !word.ends_with("ss");
    IMPERATIVES.contains(&word) || !is_other_form
}

#[test]
fn subjects_are_judged() {
    let list = List::parse("custody | assignment\n").unwrap();
    for subject in [
        "Rename `Custody` to `PartitionManager`",
        "Process records of paused partitions",
        "Bring back the ledger",
    ] {
        assert_eq!(problems(subject, &list), Vec::<String>::new(), "{subject}");
    }
    for subject in [
        "Add a check.",
        "add a check",
        "Added a check",
        "Adds a check",
        "Adding a check",
        "WIP",
        "Commit work in progress",
        "Move custody to its own file",
        "Describe in the subject all that can be known of the change, which takes long",
    ] {
        assert_eq!(problems(subject, &list).len(), 1, "{subject}");
    }
}
