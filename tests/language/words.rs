//! The list of words, and finding them in a text.

use std::collections::HashMap;

use proc_macro2::{TokenStream, TokenTree};

/// A line of the list.
pub(crate) struct Entry {
    pub pattern: String,
    pub instead: String,
    /// Reported, without failing the test.
    pub is_pending: bool,
}

/// All entries, by what begins a match.
#[derive(Default)]
pub(crate) struct List {
    entries: Vec<Entry>,
    /// First word to entries.
    phrases: HashMap<String, Vec<(usize, Rest)>>,
    /// Identifier to entry.
    names: HashMap<String, usize>,
}

/// The words of a pattern behind its first, each with its alternatives.
type Rest = Vec<Vec<String>>;

struct Word<'a> {
    line: usize,
    text: &'a str,
    /// Whether the text ends a sentence or a cell behind this word.
    ends: bool,
}

impl List {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut list = Self::default();
        let mut is_pending = false;
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line == "[pending]" {
                is_pending = true;
                continue;
            }
            let entry = line.split_once('|');
            let (pattern, instead) = entry.ok_or_else(|| format!("no replacement: {line}"))?;
            let (pattern, instead) = (pattern.trim(), instead.trim());
            if pattern.is_empty() || instead.is_empty() {
                return Err(format!("no pattern or no replacement: {line}"));
            }
            list.insert(Entry {
                pattern: pattern.to_owned(),
                instead: instead.to_owned(),
                is_pending,
            })?;
        }
        Ok(list)
    }

    fn insert(&mut self, entry: Entry) -> Result<(), String> {
        let index = self.entries.len();
        let pattern = entry.pattern.as_str();
        if let Some(name) = pattern.strip_prefix('`') {
            let name = name.strip_suffix('`').unwrap_or_default();
            self.names.insert(name.to_owned(), index);
        } else {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == ' ' || c == '/';
            if !pattern.chars().all(is_plain) {
                return Err(format!("not words: {pattern}"));
            }
            let words: Vec<Vec<String>> = pattern
                .split_whitespace()
                .map(|word| word.split('/').map(str::to_lowercase).collect())
                .collect();
            for first in &words[0] {
                let phrases = self.phrases.entry(first.clone()).or_default();
                phrases.push((index, words[1..].to_vec()));
            }
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Words and phrases in any case, in prose and within identifiers: line, entry and match.
    pub(crate) fn find_words(&self, text: &str) -> Vec<(usize, &Entry, String)> {
        let words = split(text);
        let mut found = Vec::new();
        for (at, word) in words.iter().enumerate() {
            let candidates = self.phrases.get(&word.text.to_lowercase());
            for (index, rest) in candidates.into_iter().flatten() {
                let matched = &words[at..words.len().min(at + 1 + rest.len())];
                let is_match = matched.len() == 1 + rest.len()
                    && matched[..rest.len()].iter().all(|word| !word.ends)
                    && rest.iter().zip(&matched[1..]).all(|(any, word)| {
                        any.iter().any(|one| one.eq_ignore_ascii_case(word.text))
                    });
                if is_match {
                    let texts: Vec<&str> = matched.iter().map(|word| word.text).collect();
                    found.push((word.line, &self.entries[*index], texts.join(" ")));
                }
            }
        }
        found
    }

    /// Whole identifiers of Rust code: line, entry and match.
    pub(crate) fn find_names(&self, code: &str) -> Vec<(usize, &Entry, String)> {
        let mut found = Vec::new();
        let mut streams: Vec<TokenStream> = code.parse().into_iter().collect();
        while let Some(stream) = streams.pop() {
            for token in stream {
                match token {
                    TokenTree::Group(group) => streams.push(group.stream()),
                    TokenTree::Ident(ident) => {
                        let name = ident.to_string();
                        if let Some(&index) = self.names.get(&name) {
                            let line = ident.span().start().line;
                            found.push((line, &self.entries[index], name));
                        }
                    }
                    TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                }
            }
        }
        found.sort_by_key(|(line, ..)| *line);
        found
    }
}

/// Splits prose and identifiers into words: `readAnew` and `read_anew` are two.
fn split(text: &str) -> Vec<Word<'_>> {
    let mut words: Vec<Word<'_>> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let bytes = line.as_bytes();
        if line.trim().is_empty() {
            end(&mut words);
        }
        let mut at = 0;
        while at < bytes.len() {
            if !bytes[at].is_ascii_alphanumeric() {
                if b".;!?|".contains(&bytes[at]) {
                    end(&mut words);
                }
                at += 1;
                continue;
            }
            let start = at;
            at += 1;
            while at < bytes.len() && continues_word(bytes, at) {
                at += 1;
            }
            words.push(Word {
                line: number + 1,
                text: &line[start..at],
                ends: false,
            });
        }
    }
    words
}

/// Whether the byte at `at` belongs to the word before it.
fn continues_word(bytes: &[u8], at: usize) -> bool {
    let (before, this) = (bytes[at - 1], bytes[at]);
    let begins_hump = this.is_ascii_uppercase()
        && (!before.is_ascii_uppercase() || bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase));
    this.is_ascii_alphanumeric() && !begins_hump
}

fn end(words: &mut [Word<'_>]) {
    if let Some(last) = words.last_mut() {
        last.ends = true;
    }
}
