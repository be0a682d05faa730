//! Authentication and authorization.
//!
//! | part | file |
//! |---|---|
//! | browsers that have logged in | `logins.rs` |
//! | cookies under a seal | `seal.rs` |
//! | logins at an OpenID provider | `oidc.rs` |
//! | what a caller may do | `role.rs` |
//! | a bound on wrong tokens | `attempts.rs` |
//! | checks on every request, security headers on every response | `guard.rs` |

pub mod attempts;
pub mod guard;
pub mod logins;
pub mod oidc;
pub mod oidc_args;
pub mod role;
pub mod seal;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::HeaderMap;

use super::args::ConsoleArgs;
use super::problem::Problem;
use crate::http::token::{Token, TokenError, constant_time_eq};
use crate::http::token_files::{TokenFiles, TokenFolder};
use logins::{LoggedIn, Logins};
use oidc::OidcClient;
use role::UserRole;

/// The security configuration of a console.
#[derive(Debug)]
pub struct Security {
    /// The logins; `None` without a token and a provider, which makes the console read-only.
    pub logins: Option<Logins>,
    /// The tokens of programs, besides that of `--auth-token-file`.
    pub api_tokens: Option<TokenFiles<UserRole>>,
    /// The OpenID provider at which users log in.
    pub oidc: Option<OidcClient>,
    /// Whether reading requires a login or the token as well.
    pub login_to_read: bool,
    /// The allowed values of the `Host` header; `None` if all are allowed.
    pub allowed_hosts: Option<Vec<String>>,
}

/// A configuration that is rejected as insecure.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    #[error(
        "--listen {0} is reachable from other machines but no login is required; pass --auth-token-file or --oidc-issuer, or listen on 127.0.0.1"
    )]
    NoToken(SocketAddr),
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Tokens of programs alone.
    #[error(
        "--viewer-tokens, --operator-tokens and --admin-tokens need --auth-token-file or --oidc-issuer: pass one of them"
    )]
    ApiTokensAlone,
    /// A file or a flag.
    #[error("{0:#}")]
    Invalid(anyhow::Error),
}

/// The sender of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    Anonymous,
    /// A browser that is logged in.
    Browser(LoggedIn),
    /// A program that sends a token with the request.
    Program {
        /// The name of the token; `None` for that of `--auth-token-file`.
        name: Option<Arc<str>>,
        role: UserRole,
    },
}

/// The CSRF token in the request header; empty without one.
#[must_use]
pub fn csrf_header(headers: &HeaderMap) -> &str {
    let header = headers.get("x-csrf-token");
    header
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

impl Security {
    /// Derives the configuration of a console that listens on `address`.
    ///
    /// # Errors
    /// [`SecurityError`]
    pub fn new(args: &ConsoleArgs, address: SocketAddr) -> Result<Self, SecurityError> {
        let file = args.auth_token_file.as_deref();
        let token = file.map(|path| Token::read(path, "--auth-token-file"));
        let token = token.transpose()?;
        let loopback = address.ip().is_loopback();
        let oidc = OidcClient::new(&args.oidc).map_err(SecurityError::Invalid)?;
        if !loopback && token.is_none() && oidc.is_none() {
            return Err(SecurityError::NoToken(address));
        }
        let api_tokens = api_tokens(args).map_err(SecurityError::Invalid)?;
        if api_tokens.is_some() && token.is_none() && oidc.is_none() {
            return Err(SecurityError::ApiTokensAlone);
        }
        let idle_timeout = args.login_idle_timeout;
        let mut hosts = args.allowed_host.clone();
        if loopback {
            hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
            hosts.push(address.ip().to_string());
        }
        Ok(Self {
            login_to_read: (oidc.is_some() || token.is_some() && !loopback) && !args.anonymous_read,
            logins: match (token, &oidc) {
                (Some(token), _) => Some(Logins::new(token, idle_timeout)),
                (None, Some(oidc)) => {
                    let secret = oidc.secret().as_bytes();
                    Some(Logins::at_provider(secret, idle_timeout))
                }
                (None, None) => None,
            },
            api_tokens,
            oidc,
            allowed_hosts: (!hosts.is_empty()).then_some(hosts),
        })
    }

    /// Whether browsers reach the console by TLS, according to the flags.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.oidc.as_ref().is_some_and(OidcClient::is_secure)
    }

    /// Whether a browser that was logged in with this cookie still is. Other callers log in with each
    /// request.
    #[must_use]
    pub fn is_logged_in(&self, caller: &Caller, cookie: Option<&str>) -> bool {
        match (caller, &self.logins, cookie) {
            (Caller::Browser(_), Some(logins), Some(cookie)) => logins.find(cookie).is_some(),
            (Caller::Browser(_), _, _) => false,
            (Caller::Anonymous | Caller::Program { .. }, _, _) => true,
        }
    }

    /// Checks that `caller` has this role, having sent `csrf`.
    ///
    /// # Errors
    /// [`Problem::ReadOnly`], [`Problem::Unauthorized`], [`Problem::StaleForm`] or
    /// [`Problem::NotPermitted`]
    pub fn authorize(&self, caller: &Caller, csrf: &str, role: UserRole) -> Result<(), Problem> {
        match caller {
            _ if self.logins.is_none() => Err(Problem::ReadOnly),
            Caller::Anonymous => Err(Problem::Unauthorized),
            _ if !caller.is_authorized(csrf) => Err(Problem::StaleForm),
            Caller::Browser(login) if login.role < role => Err(Problem::NotPermitted {
                role: login.role,
                needed: role,
            }),
            Caller::Program { role: own, .. } if *own < role => Err(Problem::NotPermitted {
                role: *own,
                needed: role,
            }),
            Caller::Browser(_) | Caller::Program { .. } => Ok(()),
        }
    }
}

/// Reads the tokens of programs.
fn api_tokens(args: &ConsoleArgs) -> anyhow::Result<Option<TokenFiles<UserRole>>> {
    let folders = [
        (&args.viewer_tokens, "--viewer-tokens", UserRole::Viewer),
        (
            &args.operator_tokens,
            "--operator-tokens",
            UserRole::Operator,
        ),
        (&args.admin_tokens, "--admin-tokens", UserRole::Admin),
    ];
    let folders = folders.into_iter().filter_map(|(path, flag, kind)| {
        let path = path.clone()?;
        Some(TokenFolder { path, flag, kind })
    });
    let folders: Vec<_> = folders.collect();
    if folders.is_empty() {
        return Ok(None);
    }
    TokenFiles::new(folders).map(Some)
}

impl Caller {
    /// Returns whether the caller is logged in and has sent its own CSRF token.
    #[must_use]
    pub fn is_authorized(&self, csrf: &str) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Program { .. } => true,
            Self::Browser(login) => constant_time_eq(login.csrf.as_bytes(), csrf.as_bytes()),
        }
    }

    /// The CSRF token for forms that take this role; `None` if they are of no use to the caller.
    #[must_use]
    pub fn csrf(&self, role: UserRole) -> Option<&str> {
        match self {
            Self::Browser(login) if login.role >= role => Some(&login.csrf),
            Self::Browser(_) | Self::Anonymous | Self::Program { .. } => None,
        }
    }

    /// Name in audit records.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Browser(_) => "browser",
            Self::Program { .. } => "token",
        }
    }
}
