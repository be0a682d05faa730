//! The token, and the browsers that have given it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::Clock;

/// A shorter token could be guessed.
const MIN_CHARACTERS: usize = 16;
/// How long a browser stays logged in.
pub const LOGIN_LASTS: Duration = Duration::from_hours(12);
/// The most browsers that are logged in; beyond it, the first ones are logged out.
const MAX_LOGINS: usize = 100;

/// What whoever changes something has to know.
pub struct Token(Vec<u8>);

/// A token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}; check --auth-token-file", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: std::io::Error,
    },
    /// It could be guessed.
    #[error(
        "the token in {} has fewer than {MIN_CHARACTERS} characters: make one with `openssl rand -hex 32`", .0.display()
    )]
    Short(PathBuf),
}

impl Token {
    /// Reads the token from a file; white space around it does not belong to it.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let text = std::fs::read_to_string(path).map_err(|reason| TokenError::Unreadable {
            path: path.to_owned(),
            reason,
        })?;
        let token = text.trim();
        if token.chars().count() < MIN_CHARACTERS {
            return Err(TokenError::Short(path.to_owned()));
        }
        Ok(Self(token.as_bytes().to_vec()))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The browsers that have given the token.
#[derive(Debug)]
pub struct Logins {
    token: Token,
    /// Under it, cookies become form tokens and the names of logins: neither tells the other.
    key: [u8; 32],
    clock: Clock,
    /// By the name of the login: when it ends.
    open: Mutex<BTreeMap<Vec<u8>, Duration>>,
}

impl Logins {
    /// Nobody has given it yet.
    #[must_use]
    pub fn new(token: Token) -> Self {
        Self {
            token,
            key: rand::random(),
            clock: Clock::default(),
            open: Mutex::default(),
        }
    }

    /// Whether this is the token.
    #[must_use]
    pub fn is_token(&self, given: &[u8]) -> bool {
        same(&self.token.0, given)
    }

    /// Logs a browser in; the cookie that shows it.
    #[must_use]
    pub fn log_in(&self) -> String {
        let cookie = hex::encode(rand::random::<[u8; 32]>());
        let now = self.clock.elapsed();
        let mut open = self.open();
        open.retain(|_, ends| *ends > now);
        while open.len() >= MAX_LOGINS {
            let first = open.iter().min_by_key(|(_, ends)| **ends);
            let Some(name) = first.map(|(name, _)| name.clone()) else {
                break;
            };
            open.remove(&name);
        }
        open.insert(self.derive("login", &cookie), now + LOGIN_LASTS);
        cookie
    }

    /// What forms of the browser with this cookie have to carry; none if it is not logged in.
    #[must_use]
    pub fn csrf(&self, cookie: &str) -> Option<String> {
        let ends = *self.open().get(&self.derive("login", cookie))?;
        (ends > self.clock.elapsed()).then(|| hex::encode(self.derive("form", cookie)))
    }

    /// Logs the browser with this cookie out.
    pub fn log_out(&self, cookie: &str) {
        self.open().remove(&self.derive("login", cookie));
    }

    fn derive(&self, what: &str, cookie: &str) -> Vec<u8> {
        let mut mac = keyed(&self.key);
        mac.update(what.as_bytes());
        mac.update(&[0]);
        mac.update(cookie.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Duration>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two texts are the same, in a time that tells nothing of where they differ.
#[must_use]
pub fn same(left: &[u8], right: &[u8]) -> bool {
    let key: [u8; 32] = rand::random();
    let mut expected = keyed(&key);
    expected.update(left);
    let mut given = keyed(&key);
    given.update(right);
    expected.verify(&given.finalize().into_bytes()).is_ok()
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    Hmac::new_from_slice(key).expect("a key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_logged_in_until_it_logs_out() {
        let logins = Logins::new(Token(b"0123456789abcdef".to_vec()));
        assert!(logins.is_token(b"0123456789abcdef"));
        assert!(!logins.is_token(b"0123456789abcdeg") && !logins.is_token(b""));
        let cookie = logins.log_in();
        let csrf = logins.csrf(&cookie).unwrap();
        assert_ne!(csrf, cookie);
        assert_eq!(logins.csrf("made up"), None);
        logins.log_out(&cookie);
        assert_eq!(logins.csrf(&cookie), None);
    }

    #[test]
    fn at_the_bound_the_first_to_come_is_the_first_to_go() {
        let logins = Logins::new(Token(b"0123456789abcdef".to_vec()));
        let first = logins.log_in();
        let others: Vec<_> = (0..MAX_LOGINS).map(|_| logins.log_in()).collect();
        assert_eq!(logins.csrf(&first), None);
        assert!(others.iter().all(|cookie| logins.csrf(cookie).is_some()));
    }

    #[test]
    fn a_short_token_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\n").unwrap();
        let error = Token::read(file.path()).unwrap_err().to_string();
        assert!(error.contains("openssl rand"), "{error}");
    }
}
