//! Browsers that have logged in with the token.
//!
//! A login is sealed in its cookie, under a key that is derived from the token: every replica of the
//! console accepts it, a restart does not end it, and a new token ends all of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::Mac;

use super::attempts::WrongTokens;
use crate::clock::Clock;
use crate::http::token::{Token, constant_time_eq, hmac_sha256};

/// Lifetime of a login.
pub const LOGIN_LIFETIME: Duration = Duration::from_hours(12);
/// Limit on remembered logouts; beyond it, the one that would be needed for the shortest time is
/// forgotten.
const MAX_LOGOUTS: usize = 10_000;

/// Seals and opens logins.
#[derive(Debug)]
pub struct Logins {
    token: Token,
    /// Seals cookies, and derives CSRF tokens from them.
    key: [u8; 32],
    clock: Clock,
    /// The end of each login that was logged out here, in seconds since 1970, by its id.
    logouts: Mutex<BTreeMap<Vec<u8>, i64>>,
    wrong_tokens: WrongTokens,
}

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenCheck {
    Accepted,
    Wrong,
    /// Its address has sent too many wrong ones. It has not been looked at.
    TooMany,
}

impl Logins {
    #[must_use]
    pub fn new(token: Token) -> Self {
        let mut mac = hmac_sha256(token.secret().as_bytes());
        mac.update(b"sundown console logins");
        let key = mac.finalize().into_bytes().into();
        Self {
            token,
            key,
            clock: Clock::default(),
            logouts: Mutex::default(),
            wrong_tokens: WrongTokens::default(),
        }
    }

    /// Checks a token that a client at this address has sent, and counts it if it is wrong.
    #[must_use]
    pub fn check_token(&self, from: IpAddr, candidate: &[u8]) -> TokenCheck {
        let now = self.clock.elapsed();
        if self.wrong_tokens.has_too_many(from, now) {
            return TokenCheck::TooMany;
        }
        if self.token.matches(candidate) {
            return TokenCheck::Accepted;
        }
        self.wrong_tokens.add(from, now);
        if self.wrong_tokens.has_too_many(from, now) {
            tracing::warn!(target: "audit", %from, "too many wrong tokens; ignoring tokens from this address for a minute");
        }
        TokenCheck::Wrong
    }

    /// Logs a browser in; returns the value of its cookie: a random id, the end of the login in
    /// seconds since 1970, and the seal of both.
    #[must_use]
    pub fn log_in(&self) -> String {
        let id = hex::encode(rand::random::<[u8; 16]>());
        let lifetime = i64::try_from(LOGIN_LIFETIME.as_secs()).unwrap_or(i64::MAX);
        let content = format!("{id}.{}", self.now().saturating_add(lifetime));
        let seal = hex::encode(self.derive("login", &content));
        format!("{content}.{seal}")
    }

    /// The CSRF token of the browser with this cookie; `None` if it is not logged in.
    #[must_use]
    pub fn csrf(&self, cookie: &str) -> Option<String> {
        let end = self.open(cookie)?;
        let logged_out = self.logouts().contains_key(&self.derive("logout", cookie));
        let valid = end > self.now() && !logged_out;
        valid.then(|| hex::encode(self.derive("form", cookie)))
    }

    /// Logs out the browser with this cookie. Other replicas do not know: the browser forgets the
    /// cookie.
    pub fn log_out(&self, cookie: &str) {
        let Some(end) = self.open(cookie) else {
            return;
        };
        let now = self.now();
        let mut logouts = self.logouts();
        logouts.retain(|_, end| *end > now);
        if logouts.len() >= MAX_LOGOUTS {
            let next = logouts.iter().min_by_key(|(_, end)| **end);
            if let Some(id) = next.map(|(id, _)| id.clone()) {
                logouts.remove(&id);
            }
        }
        logouts.insert(self.derive("logout", cookie), end);
    }

    /// The end of the login in a cookie, if the seal is genuine.
    fn open(&self, cookie: &str) -> Option<i64> {
        let (content, seal) = cookie.rsplit_once('.')?;
        let seal = hex::decode(seal).ok()?;
        if !constant_time_eq(&seal, &self.derive("login", content)) {
            return None;
        }
        content.rsplit_once('.')?.1.parse().ok()
    }

    fn derive(&self, purpose: &str, text: &str) -> Vec<u8> {
        let mut mac = hmac_sha256(&self.key);
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    /// Seconds since 1970.
    fn now(&self) -> i64 {
        self.clock.wall().as_millis() / 1_000
    }

    fn logouts(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, i64>> {
        self.logouts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins(token: &str) -> Logins {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), token).unwrap();
        Logins::new(Token::read(file.path(), "--auth-token-file").unwrap())
    }

    #[test]
    fn a_browser_is_logged_in_until_it_logs_out() {
        let logins = logins("0123456789abcdef");
        let check = |token| logins.check_token(IpAddr::from([192, 0, 2, 1]), token);
        assert_eq!(check(b"0123456789abcdef"), TokenCheck::Accepted);
        for wrong in [&b"0123456789abcdeg"[..], b""] {
            assert_eq!(check(wrong), TokenCheck::Wrong);
        }
        let cookie = logins.log_in();
        let csrf = logins.csrf(&cookie).unwrap();
        assert_ne!(csrf, cookie);
        logins.log_out(&cookie);
        assert_eq!(logins.csrf(&cookie), None);
    }

    #[test]
    fn a_login_holds_on_every_replica_with_the_same_token() {
        let [one, other] = [(); 2].map(|()| logins("0123456789abcdef"));
        let cookie = one.log_in();
        assert_eq!(one.csrf(&cookie), other.csrf(&cookie));
        assert!(other.csrf(&cookie).is_some());
        assert_eq!(logins("fedcba9876543210").csrf(&cookie), None);
    }

    #[test]
    fn a_cookie_that_was_changed_is_no_login() {
        let logins = logins("0123456789abcdef");
        let cookie = logins.log_in();
        let (content, seal) = cookie.rsplit_once('.').unwrap();
        let (id, end) = content.split_once('.').unwrap();
        let later = end.parse::<i64>().unwrap() + 1;
        for forged in [
            format!("{id}.{later}.{seal}"),
            format!("{content}."),
            format!("{content}.{}", &seal[2..]),
            "made up".to_owned(),
            String::new(),
        ] {
            assert_eq!(logins.csrf(&forged), None, "{forged}");
        }
        // One that has ended, with a genuine seal.
        let ended = format!("{id}.{}", logins.now());
        let seal = hex::encode(logins.derive("login", &ended));
        assert_eq!(logins.csrf(&format!("{ended}.{seal}")), None);
    }
}
