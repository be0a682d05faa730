//! Browsers that have logged in with the token.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::Mac;

use crate::clock::Clock;
use crate::http::token::{Token, hmac_sha256};

/// Lifetime of a login.
pub const LOGIN_LIFETIME: Duration = Duration::from_hours(12);
/// Limit on concurrent logins; a further one ends the oldest.
const MAX_LOGINS: usize = 100;

/// The current logins.
#[derive(Debug)]
pub struct Logins {
    token: Token,
    /// Derives CSRF tokens and login ids from cookies, so that neither reveals the other.
    key: [u8; 32],
    clock: Clock,
    /// End of each login by its id.
    expiries: Mutex<BTreeMap<Vec<u8>, Duration>>,
}

impl Logins {
    #[must_use]
    pub fn new(token: Token) -> Self {
        Self {
            token,
            key: rand::random(),
            clock: Clock::default(),
            expiries: Mutex::default(),
        }
    }

    /// Returns whether `candidate` is the token.
    #[must_use]
    pub fn is_token(&self, candidate: &[u8]) -> bool {
        self.token.matches(candidate)
    }

    /// Logs a browser in; returns the value of its cookie.
    #[must_use]
    pub fn log_in(&self) -> String {
        let cookie = hex::encode(rand::random::<[u8; 32]>());
        let now = self.clock.elapsed();
        let mut expiries = self.expiries();
        expiries.retain(|_, expiry| *expiry > now);
        while expiries.len() >= MAX_LOGINS {
            let oldest = expiries.iter().min_by_key(|(_, expiry)| **expiry);
            let Some(id) = oldest.map(|(id, _)| id.clone()) else {
                break;
            };
            expiries.remove(&id);
        }
        expiries.insert(self.derive("login", &cookie), now + LOGIN_LIFETIME);
        cookie
    }

    /// The CSRF token of the browser with this cookie; `None` if it is not logged in.
    #[must_use]
    pub fn csrf(&self, cookie: &str) -> Option<String> {
        let expiry = *self.expiries().get(&self.derive("login", cookie))?;
        (expiry > self.clock.elapsed()).then(|| hex::encode(self.derive("form", cookie)))
    }

    /// Logs out the browser with this cookie.
    pub fn log_out(&self, cookie: &str) {
        self.expiries().remove(&self.derive("login", cookie));
    }

    fn derive(&self, purpose: &str, cookie: &str) -> Vec<u8> {
        let mut mac = hmac_sha256(&self.key);
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(cookie.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    fn expiries(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Duration>> {
        self.expiries.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn beyond_the_limit_the_oldest_login_ends() {
        let logins = logins();
        let first = logins.log_in();
        let others: Vec<_> = (0..MAX_LOGINS).map(|_| logins.log_in()).collect();
        assert_eq!(logins.csrf(&first), None);
        assert!(others.iter().all(|cookie| logins.csrf(cookie).is_some()));
    }
}
