//! Browsers that have logged in: with the console's token, or at an OpenID provider.
//!
//! A login is sealed in its cookie, under a key that is derived from the token, or from the client secret
//! at the provider: every replica of the console accepts it, a restart does not end it, and a new secret
//! ends all of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempts::WrongTokens;
use super::role::UserRole;
use super::seal::Seal;
use crate::clock::Clock;
use crate::http::token::Token;

/// Lifetime of a login.
pub const LOGIN_LIFETIME: Duration = Duration::from_hours(12);
/// Limit on remembered logouts; beyond it, the one that would be needed for the shortest time is
/// forgotten.
const MAX_LOGOUTS: usize = 10_000;
/// What the seal of a login is for.
const LOGIN: &str = "login";

/// Seals and opens logins.
#[derive(Debug)]
pub struct Logins {
    /// `None` if users log in at a provider alone.
    token: Option<Token>,
    /// Seals cookies, and derives CSRF tokens from them.
    seal: Seal,
    clock: Clock,
    /// The end of each login that was logged out here, in seconds since 1970, by its id.
    logouts: Mutex<BTreeMap<Vec<u8>, i64>>,
    wrong_tokens: WrongTokens,
}

/// The content of a login's cookie.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SealedLogin {
    id: String,
    /// In seconds since 1970.
    end: i64,
    role: UserRole,
    user: Option<String>,
}

/// A browser that is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// Required in its forms, against cross-site request forgery.
    pub csrf: String,
    pub role: UserRole,
    /// The user, as the provider names them; `None` after a login with the token.
    pub user: Option<String>,
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
    /// Creates logins with a token, whose cookies are sealed with its secret.
    #[must_use]
    pub fn new(token: Token) -> Self {
        let seal = Seal::new(token.secret().as_bytes());
        Self::with_seal(Some(token), seal)
    }

    /// Creates logins without a token, at a provider alone.
    #[must_use]
    pub fn at_provider(secret: &[u8]) -> Self {
        Self::with_seal(None, Seal::new(secret))
    }

    fn with_seal(token: Option<Token>, seal: Seal) -> Self {
        Self {
            token,
            seal,
            clock: Clock::default(),
            logouts: Mutex::default(),
            wrong_tokens: WrongTokens::default(),
        }
    }

    /// Whether there is a token to log in with.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Seals values in other cookies.
    #[must_use]
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Checks a token that a client at this address has sent, and counts it if it is wrong.
    #[must_use]
    pub fn check_token(&self, from: IpAddr, candidate: &[u8]) -> TokenCheck {
        let now = self.clock.elapsed();
        if self.wrong_tokens.has_too_many(from, now) {
            return TokenCheck::TooMany;
        }
        if self
            .token
            .as_ref()
            .is_some_and(|token| token.matches(candidate))
        {
            return TokenCheck::Accepted;
        }
        self.wrong_tokens.add(from, now);
        if self.wrong_tokens.has_too_many(from, now) {
            tracing::warn!(target: "audit", %from, "too many wrong tokens; ignoring tokens from this address for a minute");
        }
        TokenCheck::Wrong
    }

    /// Logs a browser in; returns the value of its cookie.
    #[must_use]
    pub fn log_in(&self, role: UserRole, user: Option<String>) -> String {
        let lifetime = i64::try_from(LOGIN_LIFETIME.as_secs()).unwrap_or(i64::MAX);
        let login = SealedLogin {
            id: hex::encode(rand::random::<[u8; 16]>()),
            end: self.now().saturating_add(lifetime),
            role,
            user,
        };
        self.seal.close(LOGIN, &login)
    }

    /// Returns the login of the browser with this cookie; `None` if it is not logged in.
    #[must_use]
    pub fn find(&self, cookie: &str) -> Option<LoggedIn> {
        let login: SealedLogin = self.seal.open(LOGIN, cookie)?;
        let logged_out = self
            .logouts()
            .contains_key(&self.seal.derive("logout", cookie));
        let valid = login.end > self.now() && !logged_out;
        valid.then(|| LoggedIn {
            csrf: hex::encode(self.seal.derive("form", cookie)),
            role: login.role,
            user: login.user,
        })
    }

    /// Logs out the browser with this cookie. Other replicas do not know: the browser forgets the
    /// cookie.
    pub fn log_out(&self, cookie: &str) {
        let Some(SealedLogin { end, .. }) = self.seal.open(LOGIN, cookie) else {
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
        logouts.insert(self.seal.derive("logout", cookie), end);
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
        let cookie = logins.log_in(UserRole::Operator, Some("ann".to_owned()));
        let login = logins.find(&cookie).unwrap();
        assert_ne!(login.csrf, cookie);
        assert_eq!(
            (login.role, login.user.as_deref()),
            (UserRole::Operator, Some("ann"))
        );
        logins.log_out(&cookie);
        assert_eq!(logins.find(&cookie), None);
    }

    #[test]
    fn a_login_holds_on_every_replica_with_the_same_secret() {
        let [one, other] = [(); 2].map(|()| logins("0123456789abcdef"));
        let cookie = one.log_in(UserRole::Admin, None);
        assert_eq!(one.find(&cookie), other.find(&cookie));
        assert!(other.find(&cookie).is_some());
        assert_eq!(logins("fedcba9876543210").find(&cookie), None);
        let [one, other] = [(); 2].map(|()| Logins::at_provider(b"secret of the client"));
        let cookie = one.log_in(UserRole::Viewer, None);
        assert!(other.find(&cookie).is_some());
    }

    #[test]
    fn without_a_token_none_is_accepted() {
        let logins = Logins::at_provider(b"secret of the client");
        let from = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(logins.check_token(from, b""), TokenCheck::Wrong);
    }

    #[test]
    fn a_login_that_is_over_does_not_count() {
        let logins = logins("0123456789abcdef");
        let over = SealedLogin {
            id: "id".to_owned(),
            end: logins.now(),
            role: UserRole::Admin,
            user: None,
        };
        assert_eq!(logins.find(&logins.seal.close(LOGIN, &over)), None);
    }
}
