//! The docs hold together: links, anchors, the summary of the site, and paths of pages in sources. The threat
//! model has the permissions of the chart.
#![allow(clippy::unwrap_used, reason = "tests panic on unexpected values")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use regex::Regex;

/// Folders that hold no sources of the project.
const SKIPPED: [&str; 6] = [
    ".git",
    "artifacts",
    "book",
    "corpus",
    "node_modules",
    "target",
];

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn links_and_anchors_of_all_pages_resolve() {
    let pages: BTreeMap<PathBuf, String> = files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .map(|path| (path.clone(), read(&path)))
        .collect();
    assert!(pages.len() > 30, "the pages moved");
    let anchors: BTreeMap<_, _> = pages
        .iter()
        .map(|(path, page)| (path, anchors(page)))
        .collect();
    let mut links = 0;
    let mut dead = Vec::new();
    for (path, page) in &pages {
        for link in links_of(page) {
            if link.contains(':') {
                continue;
            }
            links += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => Some(path.clone()),
                file => resolve(path.parent().unwrap(), file),
            };
            let exists = target.as_ref().is_some_and(|target| {
                Path::new(ROOT).join(target).exists()
                    && (anchor.is_empty()
                        || anchors.get(target).is_some_and(|all| all.contains(anchor)))
            });
            if !exists {
                dead.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
    assert!(links > 100, "{links} links");
}

#[test]
fn the_summary_of_the_site_lists_every_page_once() {
    let summary = Path::new("docs/SUMMARY.md");
    let mut listed: Vec<_> = links_of(&read(summary))
        .iter()
        .map(|link| resolve(Path::new("docs"), link).unwrap())
        .collect();
    listed.sort();
    let pages: Vec<_> = files()
        .into_iter()
        .filter(|path| path.starts_with("docs") && path != summary)
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .collect();
    assert_eq!(listed, pages);
}

/// Run by `.ci/run site`, on the folder that mdBook has written.
#[test]
fn links_and_anchors_of_the_built_site_resolve() {
    let Some(site) = std::env::var_os("SUNDOWN_TEST_SITE").map(PathBuf::from) else {
        println!("skipped: the site is not built; `.ci/run site` builds it and checks its links");
        return;
    };
    let link = Regex::new(r#"\b(?:href|src)="([^"]*)""#).unwrap();
    let pages = files_below(&site);
    let pages = pages
        .iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "html"));
    // The page of a mistaken address has links from the site's root, toc.html is a part of pages.
    let pages = pages.filter(|path| !path.ends_with("404.html") && !path.ends_with("toc.html"));
    let mut links = 0;
    let mut dead = Vec::new();
    for page in pages {
        let html = fs::read_to_string(site.join(page)).unwrap();
        for target in link
            .captures_iter(&html)
            .map(|found| found.get(1).unwrap().as_str())
        {
            if target.is_empty() || target.contains(':') {
                continue;
            }
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => Some(page.clone()),
                file => resolve(page.parent().unwrap(), file),
            };
            let content = path.and_then(|path| fs::read(site.join(path)).ok());
            let has_anchor = |content: Vec<u8>| {
                anchor.is_empty()
                    || String::from_utf8_lossy(&content).contains(&format!("id=\"{anchor}\""))
            };
            if !content.is_some_and(has_anchor) {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(
        dead.is_empty(),
        "dead links of the site:\n{}",
        dead.join("\n")
    );
    assert!(links > 500, "{links} links");
}

#[test]
fn pages_that_sources_name_exist() {
    let named = Regex::new(r"\bdocs/[a-z][a-z0-9/-]*\.(?:md|svg|png)\b").unwrap();
    let mut found = BTreeSet::new();
    let mut missing = Vec::new();
    for path in files() {
        let Ok(text) = fs::read_to_string(Path::new(ROOT).join(&path)) else {
            continue;
        };
        for name in named.find_iter(&text) {
            found.insert(name.as_str().to_owned());
            if !Path::new(ROOT).join(name.as_str()).exists() {
                missing.push(format!("{}: {}", path.display(), name.as_str()));
            }
        }
    }
    assert!(missing.is_empty(), "missing pages:\n{}", missing.join("\n"));
    assert!(found.len() > 5, "{found:?}");
}

#[test]
fn the_permissions_of_the_threat_model_are_those_of_the_chart() {
    assert_eq!(permissions_of_the_page(), permissions_of_the_chart());
}

/// Topic and role to the operations of it.
type Permissions = BTreeMap<(String, String), BTreeSet<String>>;

/// The cells of the table with the column `tracker`.
fn permissions_of_the_page() -> Permissions {
    let page = read(Path::new("docs/explanation/threat-model.md"));
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|');
        let cells = line.split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    };
    let mut lines = page.lines();
    let header = lines.find(|line| line.starts_with("| topic | tracker"));
    let roles = cells(header.unwrap());
    let mut permissions = Permissions::new();
    for row in lines.skip(1).take_while(|line| line.starts_with('|')) {
        let row = cells(row);
        for (role, cell) in roles.iter().zip(&row).skip(1) {
            let operations: BTreeSet<String> = cell
                .split_whitespace()
                .map(|letter| match letter {
                    "R" => "Read",
                    "W" => "Write",
                    "C" => "DescribeConfigs",
                    other => panic!("{other} in the row of {}", row[0]),
                })
                .map(str::to_owned)
                .collect();
            if !operations.is_empty() {
                permissions.insert((row[0].clone(), role.clone()), operations);
            }
        }
    }
    permissions
}

/// The rules for topics of the installation, with a token for the console.
fn permissions_of_the_chart() -> Permissions {
    let template = read(Path::new("charts/sundown/templates/_acls.tpl"));
    let role = Regex::new(r#"^  "([a-z]+)" \(list$"#).unwrap();
    let rule = Regex::new(r#"^    \(dict "name" "([^"]+)" "operations" (.+)\)$"#).unwrap();
    let operation = Regex::new(r#""([A-Za-z]+)""#).unwrap();
    let console = template
        .lines()
        .find_map(|line| {
            line.split_once("$console := ternary (list ")?
                .1
                .split(')')
                .next()
        })
        .unwrap();
    let mut permissions = Permissions::new();
    let mut current = String::new();
    for line in template.lines() {
        if let Some(found) = role.captures(line) {
            current = found[1].to_owned();
        }
        if let Some(found) = rule.captures(line) {
            let operations = found[2].replace("$console", console);
            let operations = operation.captures_iter(&operations);
            permissions.insert(
                (found[1].to_owned(), current.clone()),
                operations.map(|found| found[1].to_owned()).collect(),
            );
        }
    }
    assert_eq!(
        permissions.len(),
        template.matches("(dict \"name\"").count(),
        "a rule of the chart has another form"
    );
    permissions
}

#[test]
fn every_requirement_of_the_chapter_on_sessions_is_answered() {
    let page = read(Path::new("docs/reference/asvs-v7.md"));
    let requirement = Regex::new(r"(?m)^\| \*\*(7\.\d\.\d)\*\* \([123]\) ").unwrap();
    let answered: Vec<_> = requirement
        .captures_iter(&page)
        .map(|found| found[1].to_owned())
        .collect();
    let sections = [3, 4, 2, 5, 3, 2].into_iter().enumerate();
    let expected: Vec<_> = sections
        .flat_map(|(section, count)| (1..=count).map(move |one| format!("7.{}.{one}", section + 1)))
        .collect();
    assert_eq!(answered, expected);
}

#[test]
fn links_in_code_are_no_links_and_anchors_follow_headings() {
    let page = "# A `b`: [c](d.md)!\n\n```\n[x](no.md)\n# no\n```\n`[x](no.md)` ![e](f.png)\n\
                <img srcset=\"g.png\" src=\"h.png\">\n\n## a\n\n## a\n";
    assert_eq!(links_of(page), ["d.md", "f.png", "g.png", "h.png"]);
    let expected = ["a", "a-1", "a-b-c"].map(str::to_owned);
    assert_eq!(anchors(page), BTreeSet::from(expected));
}

/// Returns the targets of links and pictures.
fn links_of(page: &str) -> Vec<String> {
    let code = Regex::new("`[^`\n]*`").unwrap();
    let prose = prose(page);
    let text = code.replace_all(&prose, "");
    let link = Regex::new(r#"\]\(([^)\s]+)\)|\b(?:src|srcset|href)="([^"]+)""#).unwrap();
    let targets = link
        .captures_iter(&text)
        .map(|found| found.get(1).or(found.get(2)).unwrap());
    targets.map(|target| target.as_str().to_owned()).collect()
}

/// Returns the anchors of the headings, named as GitHub and mdBook name them.
fn anchors(page: &str) -> BTreeSet<String> {
    let link = Regex::new(r"\[([^\]]*)\]\([^)]*\)").unwrap();
    let mut anchors = BTreeSet::new();
    for line in prose(page).lines() {
        let text = line.trim_start_matches('#');
        if text.len() == line.len() || !text.starts_with(' ') {
            continue;
        }
        let text = link.replace_all(text.trim(), "$1").to_lowercase();
        let kept = text
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let name: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let mut numbered = name.clone();
        let mut number = 0;
        while !anchors.insert(numbered) {
            number += 1;
            numbered = format!("{name}-{number}");
        }
    }
    anchors
}

/// Returns the page without its fenced blocks.
fn prose(page: &str) -> String {
    let mut is_code = false;
    let mut prose = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// Returns the path below the root that a relative link leads to; none outside of the root.
fn resolve(folder: &Path, link: &str) -> Option<PathBuf> {
    let mut path = folder.to_owned();
    for component in Path::new(link).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir if path.pop() => {}
            Component::CurDir => {}
            _ => return None,
        }
    }
    Some(path)
}

/// Returns the files of the project by their paths below the root, in order.
fn files() -> Vec<PathBuf> {
    files_below(Path::new(ROOT))
}

fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if SKIPPED.contains(&entry.file_name().to_str().unwrap()) {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}
