//! Bearer tokens from the files of a folder, each with a name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::args::HttpArgs;
use crate::clock::Clock;
use crate::http::token::Token;

/// How often the files are read again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);
/// Limit on the tokens of a folder.
const MAX_TOKENS: usize = 100;

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The name of the token.
    pub name: Arc<str>,
    /// Whether users can read the token, so that it may write activity only.
    pub is_public: bool,
}

/// The tokens of both folders. Files that are replaced count within seconds; while they cannot be
/// read, those before them do.
pub struct TokenFiles {
    secret: PathBuf,
    public: Option<PathBuf>,
    clock: Clock,
    state: Mutex<TokenState>,
}

struct TokenState {
    tokens: Arc<[(Sender, Token)]>,
    read_at: Duration,
}

impl TokenFiles {
    /// Reads the tokens.
    ///
    /// # Errors
    /// If a folder or a file cannot be read, or there is no token.
    pub fn new(args: &HttpArgs) -> anyhow::Result<Self> {
        let secret = args.http_tokens.clone().context("pass --http-tokens")?;
        let public = args.http_public_tokens.clone();
        let clock = Clock::default();
        let state = TokenState {
            tokens: read(&secret, public.as_deref())?,
            read_at: clock.elapsed(),
        };
        Ok(Self {
            secret,
            public,
            clock,
            state: Mutex::new(state),
        })
    }

    /// The sender with this token. A token in a query has to be a public one.
    #[must_use]
    pub fn sender(&self, bearer: Option<&[u8]>, query: Option<&[u8]>) -> Option<Sender> {
        let tokens = self.current();
        // All are compared, so that the time does not depend on which one it is.
        let matching = tokens.iter().filter(|(sender, token)| {
            let bearer = bearer.is_some_and(|candidate| token.matches(candidate));
            let query = query.is_some_and(|candidate| token.matches(candidate));
            bearer | (query & sender.is_public)
        });
        matching.fold(None, |_, (sender, _)| Some(sender.clone()))
    }

    fn current(&self) -> Arc<[(Sender, Token)]> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.elapsed();
        if now.saturating_sub(state.read_at) >= RELOAD_INTERVAL {
            state.read_at = now;
            match read(&self.secret, self.public.as_deref()) {
                Ok(tokens) => state.tokens = tokens,
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the tokens of the HTTP port are unchanged"
                    );
                }
            }
        }
        Arc::clone(&state.tokens)
    }
}

fn read(secret: &Path, public: Option<&Path>) -> anyhow::Result<Arc<[(Sender, Token)]>> {
    let mut tokens = BTreeMap::new();
    for (folder, flag, is_public) in [
        (Some(secret), "--http-tokens", false),
        (public, "--http-public-tokens", true),
    ] {
        let Some(folder) = folder else {
            continue;
        };
        let cannot = || format!("cannot read tokens from {}: check {flag}", folder.display());
        let before = tokens.len();
        for entry in fs::read_dir(folder).with_context(cannot)? {
            let path = entry.with_context(cannot)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            // A mounted Secret has others, which begin with a dot.
            let Some(name) = name.filter(|name| !name.starts_with('.')) else {
                continue;
            };
            let sender = Sender {
                name: name.into(),
                is_public,
            };
            let token = Token::read(&path, flag)?;
            let other = tokens.insert(name.to_owned(), (sender, token));
            ensure!(
                other.is_none(),
                "two tokens have the name {name}: rename one"
            );
        }
        let count = tokens.len() - before;
        ensure!(
            count > 0,
            "there is no token in {}: check {flag}",
            folder.display()
        );
        ensure!(
            count <= MAX_TOKENS,
            "there are more than {MAX_TOKENS} tokens in {}: remove some",
            folder.display()
        );
    }
    Ok(tokens.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_token_may_be_in_the_query() {
        let (secret, public) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(secret.path().join("shop"), "0123456789abcdef\n").unwrap();
        fs::write(secret.path().join("..data"), "short").unwrap();
        fs::write(public.path().join("page"), "fedcba9876543210").unwrap();
        let files = TokenFiles {
            secret: secret.path().to_owned(),
            public: Some(public.path().to_owned()),
            clock: Clock::default(),
            state: Mutex::new(TokenState {
                tokens: read(secret.path(), Some(public.path())).unwrap(),
                read_at: Duration::ZERO,
            }),
        };
        let name = |bearer: Option<&[u8]>, query: Option<&[u8]>| {
            let sender = files.sender(bearer, query)?;
            Some((sender.name.to_string(), sender.is_public))
        };
        let (shop, page) = (&b"0123456789abcdef"[..], &b"fedcba9876543210"[..]);
        assert_eq!(name(Some(shop), None), Some(("shop".to_owned(), false)));
        assert_eq!(name(None, Some(shop)), None);
        assert_eq!(name(Some(page), None), Some(("page".to_owned(), true)));
        assert_eq!(name(None, Some(page)), Some(("page".to_owned(), true)));
        assert_eq!(name(Some(b"0123456789abcdeg"), None), None);
        assert_eq!(name(None, None), None);
    }

    #[test]
    fn names_are_unique_and_tokens_long() {
        let (secret, public) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let error = read(secret.path(), None).err().unwrap().to_string();
        assert!(error.contains("there is no token"), "{error}");
        for folder in [&secret, &public] {
            fs::write(folder.path().join("shop"), "0123456789abcdef").unwrap();
        }
        let error = read(secret.path(), Some(public.path())).err().unwrap();
        assert!(error.to_string().contains("the name shop"), "{error}");
        fs::write(secret.path().join("shop"), "secret").unwrap();
        let error = read(secret.path(), None).err().unwrap().to_string();
        assert!(error.contains("openssl rand"), "{error}");
    }
}
