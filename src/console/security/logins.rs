//! The browsers that have given the token.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::Mac;

use crate::clock::Clock;
use crate::http::token::{Token, hmac_sha256};

/// How long a browser stays logged in.
pub const LOGIN_LASTS: Duration = Duration::from_hours(12);
/// The most browsers that are logged in; beyond it, the first ones are logged out.
const MAX_LOGINS: usize = 100;

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
        self.token.matches(given)
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
        let mut mac = hmac_sha256(&self.key);
        mac.update(what.as_bytes());
        mac.update(&[0]);
        mac.update(cookie.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Duration>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins() -> Logins {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789abcdef").unwrap();
        Logins::new(Token::read(file.path(), "--auth-token-file").unwrap())
    }

    #[test]
    fn a_browser_is_logged_in_until_it_logs_out() {
        let logins = logins();
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
        let logins = logins();
        let first = logins.log_in();
        let others: Vec<_> = (0..MAX_LOGINS).map(|_| logins.log_in()).collect();
        assert_eq!(logins.csrf(&first), None);
        assert!(others.iter().all(|cookie| logins.csrf(cookie).is_some()));
    }
}
