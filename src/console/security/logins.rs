//! Browsers that have logged in: with the console's token, or at an OpenID provider.
//!
//! A login is sealed in its cookie, under a key that is derived from the token, or from the client secret
//! at the provider: every replica of the console accepts it, a restart does not end it, and a new secret
//! ends all of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::attempts::WrongTokens;
use super::role::UserRole;
use super::seal::Seal;
use crate::clock::Clock;
use crate::http::token::Token;
use crate::session::Span;

/// Lifetime of a login.
pub const LOGIN_LIFETIME: Span = Span::from_secs(12 * 3_600);
/// The part of the idle timeout after which a request renews the cookie.
const RENEW_AFTER: i64 = 10;
/// Limit on remembered logouts; beyond it, the one that matters for the shortest time is forgotten.
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
    /// In seconds.
    idle_timeout: i64,
    clock: Clock,
    /// What has been logged out, and until when that matters, in seconds since 1970.
    logouts: Mutex<BTreeMap<Logout, Ended>>,
    wrong_tokens: WrongTokens,
}

/// The content of a login's cookie.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SealedLogin {
    id: String,
    /// In seconds since 1970.
    begin: i64,
    end: i64,
    /// The latest request that renewed the cookie.
    seen: i64,
    role: UserRole,
    user: Option<ProviderUser>,
}

/// A user, as the OpenID provider knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderUser {
    pub name: String,
    pub subject: String,
    /// The user's session at the provider, if its token names one.
    pub session: Option<String>,
}

/// Which logins a logout ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Logout {
    /// The one with this digest.
    Login(String),
    /// Those of a session at the provider.
    ProviderSession(String),
    /// Those of a user of the provider.
    ProviderSubject(String),
}

/// A logout that is remembered.
#[derive(Clone, Copy, Debug)]
struct Ended {
    /// Logins that began later go on.
    at: i64,
    forget_at: i64,
}

/// A browser that is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// Required in its forms, against cross-site request forgery.
    pub csrf: String,
    pub role: UserRole,
    /// The user, as the provider names them; `None` after a login with the token.
    pub user: Option<String>,
    /// What a logout of this login alone ends.
    pub logout: Logout,
    /// The cookie's new value, if it is time to renew it.
    pub renewed: Option<String>,
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
    pub fn new(token: Token, idle_timeout: Span) -> Self {
        let seal = Seal::new(token.secret().as_bytes());
        Self::with_seal(Some(token), seal, idle_timeout)
    }

    /// Creates logins without a token, at a provider alone.
    #[must_use]
    pub fn at_provider(secret: &[u8], idle_timeout: Span) -> Self {
        Self::with_seal(None, Seal::new(secret), idle_timeout)
    }

    fn with_seal(token: Option<Token>, seal: Seal, idle_timeout: Span) -> Self {
        Self {
            token,
            seal,
            idle_timeout: seconds(idle_timeout),
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

    /// Whether this address has sent too many wrong tokens.
    #[must_use]
    pub fn is_blocked(&self, from: IpAddr) -> bool {
        self.wrong_tokens.has_too_many(from, self.clock.elapsed())
    }

    /// Checks a token that a client at this address has sent, and counts it if it is wrong.
    #[must_use]
    pub fn check_token(&self, from: IpAddr, candidate: &[u8]) -> TokenCheck {
        if self.is_blocked(from) {
            return TokenCheck::TooMany;
        }
        if self
            .token
            .as_ref()
            .is_some_and(|token| token.matches(candidate))
        {
            return TokenCheck::Accepted;
        }
        self.wrong_tokens.add(from, self.clock.elapsed());
        if self.is_blocked(from) {
            tracing::warn!(target: "audit", %from, "too many wrong tokens; ignoring tokens from this address for a minute");
        }
        TokenCheck::Wrong
    }

    /// Logs a browser in; returns the value of its cookie.
    #[must_use]
    pub fn log_in(&self, role: UserRole, user: Option<ProviderUser>) -> String {
        let now = self.now();
        let login = SealedLogin {
            id: hex::encode(rand::random::<[u8; 16]>()),
            begin: now,
            end: now.saturating_add(seconds(LOGIN_LIFETIME)),
            seen: now,
            role,
            user,
        };
        self.seal.close(LOGIN, &login)
    }

    /// Returns the login of the browser with this cookie; `None` if it is not logged in.
    #[must_use]
    pub fn find(&self, cookie: &str) -> Option<LoggedIn> {
        let login: SealedLogin = self.seal.open(LOGIN, cookie)?;
        let digest = hex::encode(&self.seal.derive("logout", &login.id)[..16]);
        let own = Logout::Login(digest);
        if self.has_ended(&login, &own) {
            return None;
        }
        let now = self.now();
        let idle = now.saturating_sub(login.seen);
        let valid = login.end > now && idle < self.idle_timeout;
        valid.then(|| LoggedIn {
            csrf: hex::encode(self.seal.derive("form", &login.id)),
            role: login.role,
            user: login.user.as_ref().map(|user| user.name.clone()),
            logout: own,
            renewed: (idle > self.idle_timeout / RENEW_AFTER)
                .then(|| self.seal.close(LOGIN, &SealedLogin { seen: now, ..login })),
        })
    }

    /// Whether a logout has ended the login: its `own`, or one at the provider.
    fn has_ended(&self, login: &SealedLogin, own: &Logout) -> bool {
        let user = login.user.as_ref();
        let subject = user.map(|user| Logout::ProviderSubject(user.subject.clone()));
        let session = user.and_then(|user| user.session.clone());
        let session = session.map(Logout::ProviderSession);
        let logouts = self.logouts();
        let mut all = [Some(own), subject.as_ref(), session.as_ref()]
            .into_iter()
            .flatten();
        all.any(|logout| {
            let ended = logouts.get(logout);
            ended.is_some_and(|ended| login.begin <= ended.at)
        })
    }

    /// Ends the logins of a logout that began by `at`, in seconds since 1970.
    pub fn log_out(&self, logout: Logout, at: i64) {
        let now = self.now();
        let mut logouts = self.logouts();
        logouts.retain(|_, ended| ended.forget_at > now);
        if logouts.len() >= MAX_LOGOUTS {
            let next = logouts.iter().min_by_key(|(_, ended)| ended.forget_at);
            if let Some(logout) = next.map(|(logout, _)| logout.clone()) {
                logouts.remove(&logout);
            }
        }
        let ended = Ended {
            at,
            forget_at: at.saturating_add(seconds(LOGIN_LIFETIME)),
        };
        let known = logouts.entry(logout).or_insert(ended);
        if known.at < at {
            *known = ended;
        }
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.clock.wall().as_millis() / 1_000
    }

    fn logouts(&self) -> MutexGuard<'_, BTreeMap<Logout, Ended>> {
        self.logouts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seconds(span: Span) -> i64 {
    span.as_millis() / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Span = Span::from_secs(3_600);

    fn logins(token: &str) -> Logins {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), token).unwrap();
        let token = Token::read(file.path(), "--auth-token-file");
        Logins::new(token.unwrap(), HOUR)
    }

    fn ann() -> ProviderUser {
        ProviderUser {
            name: "ann".to_owned(),
            subject: "7".to_owned(),
            session: Some("s".to_owned()),
        }
    }

    #[test]
    fn a_browser_is_logged_in_until_it_logs_out() {
        let logins = logins("0123456789abcdef");
        let check = |token| logins.check_token(IpAddr::from([192, 0, 2, 1]), token);
        assert_eq!(check(b"0123456789abcdef"), TokenCheck::Accepted);
        for wrong in [&b"0123456789abcdeg"[..], b""] {
            assert_eq!(check(wrong), TokenCheck::Wrong);
        }
        let cookie = logins.log_in(UserRole::Operator, Some(ann()));
        let login = logins.find(&cookie).unwrap();
        assert_ne!(login.csrf, cookie);
        assert_eq!(
            (login.role, login.user.as_deref()),
            (UserRole::Operator, Some("ann"))
        );
        let other = logins.log_in(UserRole::Operator, Some(ann()));
        logins.log_out(login.logout, logins.now());
        assert_eq!(logins.find(&cookie), None);
        assert!(logins.find(&other).is_some());
    }

    #[test]
    fn a_logout_at_the_provider_ends_the_logins_before_it() {
        for logout in [
            Logout::ProviderSubject("7".to_owned()),
            Logout::ProviderSession("s".to_owned()),
        ] {
            let logins = logins("0123456789abcdef");
            let [hers, token] =
                [Some(ann()), None].map(|user| logins.log_in(UserRole::Admin, user));
            logins.log_out(logout.clone(), logins.now() - 1);
            assert!(logins.find(&hers).is_some(), "she has logged in again");
            logins.log_out(logout, logins.now());
            assert_eq!(logins.find(&hers), None);
            assert!(logins.find(&token).is_some());
        }
    }

    #[test]
    fn a_login_holds_on_every_replica_with_the_same_secret() {
        let [one, other] = [(); 2].map(|()| logins("0123456789abcdef"));
        let cookie = one.log_in(UserRole::Admin, None);
        assert_eq!(one.find(&cookie), other.find(&cookie));
        assert!(other.find(&cookie).is_some());
        assert_eq!(logins("fedcba9876543210").find(&cookie), None);
        let [one, other] = [(); 2].map(|()| Logins::at_provider(b"secret of the client", HOUR));
        let cookie = one.log_in(UserRole::Viewer, None);
        assert!(other.find(&cookie).is_some());
    }

    #[test]
    fn without_a_token_none_is_accepted() {
        let logins = Logins::at_provider(b"secret of the client", HOUR);
        let from = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(logins.check_token(from, b""), TokenCheck::Wrong);
    }

    #[test]
    fn a_login_that_is_over_does_not_count() {
        let logins = logins("0123456789abcdef");
        let over = SealedLogin {
            id: "id".to_owned(),
            begin: 0,
            seen: logins.now(),
            end: logins.now(),
            role: UserRole::Admin,
            user: None,
        };
        assert_eq!(logins.find(&logins.seal.close(LOGIN, &over)), None);
    }

    #[test]
    fn a_login_is_renewed_by_requests_and_ends_without_them() {
        let logins = logins("0123456789abcdef");
        let now = logins.now();
        let seen = |ago: i64| {
            let login = SealedLogin {
                id: "id".to_owned(),
                begin: now - 7_200,
                end: now + 600,
                seen: now - ago,
                role: UserRole::Admin,
                user: None,
            };
            logins.seal.close(LOGIN, &login)
        };
        assert_eq!(logins.find(&seen(10)).unwrap().renewed, None);
        let (before, csrf) = (seen(3_000), logins.find(&seen(10)).unwrap().csrf);
        let renewed = logins.find(&before).unwrap().renewed.unwrap();
        let login = logins.find(&renewed).unwrap();
        assert_eq!((login.renewed, login.csrf), (None, csrf));
        assert_eq!(logins.find(&seen(3_600)), None);
    }
}
