//! Bearer tokens from the files of folders, each with a name.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::token::Token;
use crate::clock::Clock;

/// How often the files are read again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);
/// Limit on the tokens of a folder.
const MAX_TOKENS: usize = 100;

/// A folder of tokens of one kind.
#[derive(Clone, Debug)]
pub struct TokenFolder<K> {
    pub path: PathBuf,
    /// The flag that names it.
    pub flag: &'static str,
    pub kind: K,
}

/// A token with the name of its file.
struct NamedToken<K> {
    name: Arc<str>,
    kind: K,
    token: Token,
}

/// The tokens of all folders. Files that are replaced count within seconds; while they cannot be
/// read, those before them do.
pub struct TokenFiles<K> {
    folders: Vec<TokenFolder<K>>,
    clock: Clock,
    state: Mutex<TokenState<K>>,
}

struct TokenState<K> {
    tokens: Arc<[NamedToken<K>]>,
    read_at: Duration,
}

impl<K: Copy> TokenFiles<K> {
    /// Reads the tokens.
    ///
    /// # Errors
    /// If a folder or a file cannot be read, two tokens have the same name, or a folder has none.
    pub fn new(folders: Vec<TokenFolder<K>>) -> anyhow::Result<Self> {
        let clock = Clock::default();
        let state = TokenState {
            tokens: read(&folders)?,
            read_at: clock.elapsed(),
        };
        Ok(Self {
            folders,
            clock,
            state: Mutex::new(state),
        })
    }

    /// Returns the name and the kind of the token that `matches` accepts.
    #[must_use]
    pub fn find(&self, matches: impl Fn(K, &Token) -> bool) -> Option<(Arc<str>, K)> {
        let tokens = self.current();
        // All are compared, so that the time does not depend on which one it is.
        let matching = tokens.iter().filter(|one| matches(one.kind, &one.token));
        matching.fold(None, |_, one| Some((Arc::clone(&one.name), one.kind)))
    }

    fn current(&self) -> Arc<[NamedToken<K>]> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.elapsed();
        if now.saturating_sub(state.read_at) >= RELOAD_INTERVAL {
            state.read_at = now;
            match read(&self.folders) {
                Ok(tokens) => state.tokens = tokens,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "bearer tokens are unchanged");
                }
            }
        }
        Arc::clone(&state.tokens)
    }
}

impl<K> std::fmt::Debug for TokenFiles<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenFiles(…)")
    }
}

fn read<K: Copy>(folders: &[TokenFolder<K>]) -> anyhow::Result<Arc<[NamedToken<K>]>> {
    let mut tokens = BTreeMap::new();
    for TokenFolder { path, flag, kind } in folders {
        let folder = path.display();
        let cannot = || format!("cannot read tokens from {folder}: check {flag}");
        let before = tokens.len();
        for entry in fs::read_dir(path).with_context(cannot)? {
            let path = entry.with_context(cannot)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            // A mounted Secret has others, which begin with a dot.
            let Some(name) = name.filter(|name| !name.starts_with('.')) else {
                continue;
            };
            let token = NamedToken {
                name: name.into(),
                kind: *kind,
                token: Token::read(&path, flag)?,
            };
            let other = tokens.insert(name.to_owned(), token);
            ensure!(
                other.is_none(),
                "two tokens have the name {name}: rename one"
            );
        }
        let count = tokens.len() - before;
        ensure!(count > 0, "there is no token in {folder}: check {flag}");
        ensure!(
            count <= MAX_TOKENS,
            "there are more than {MAX_TOKENS} tokens in {folder}: remove some"
        );
    }
    Ok(tokens.into_values().collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn folder(path: &Path, kind: u8) -> TokenFolder<u8> {
        TokenFolder {
            path: path.to_owned(),
            flag: "--tokens",
            kind,
        }
    }

    #[test]
    fn a_token_has_the_name_of_its_file_and_the_kind_of_its_folder() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        fs::write(folders[0].path().join("shop"), "0123456789abcdef\n").unwrap();
        fs::write(folders[0].path().join("..data"), "short").unwrap();
        fs::write(folders[1].path().join("page"), "fedcba9876543210").unwrap();
        let files = TokenFiles::new(vec![
            folder(folders[0].path(), 1),
            folder(folders[1].path(), 2),
        ]);
        let files = files.unwrap();
        let find = |candidate: &[u8]| files.find(|_, token| token.matches(candidate));
        assert_eq!(find(b"0123456789abcdef"), Some(("shop".into(), 1)));
        assert_eq!(find(b"fedcba9876543210"), Some(("page".into(), 2)));
        assert_eq!(find(b"0123456789abcdeg"), None);
    }

    #[test]
    fn names_are_unique_and_tokens_long() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let error = |folders| TokenFiles::new(folders).unwrap_err().to_string();
        let empty = error(vec![folder(one.path(), 1)]);
        assert!(empty.contains("there is no token"), "{empty}");
        for folder in [&one, &other] {
            fs::write(folder.path().join("shop"), "0123456789abcdef").unwrap();
        }
        let twice = error(vec![folder(one.path(), 1), folder(other.path(), 2)]);
        assert!(twice.contains("the name shop"), "{twice}");
        fs::write(one.path().join("shop"), "secret").unwrap();
        let short = error(vec![folder(one.path(), 1)]);
        assert!(short.contains("openssl rand"), "{short}");
    }
}
