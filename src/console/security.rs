//! Authentication and authorization.
//!
//! | part | file |
//! |---|---|
//! | browsers that have logged in | `logins.rs` |
//! | a bound on wrong tokens | `attempts.rs` |
//! | checks on every request, security headers on every response | `guard.rs` |

pub mod attempts;
pub mod guard;
pub mod logins;

use std::net::SocketAddr;

use axum::http::HeaderMap;

use super::args::ConsoleArgs;
use super::problem::Problem;
use crate::http::token::{Token, TokenError, constant_time_eq};
use logins::Logins;

/// The security configuration of a console.
#[derive(Debug)]
pub struct Security {
    /// The logins with the token; `None` without a token, which makes the console read-only.
    pub logins: Option<Logins>,
    /// Whether reading requires the token as well.
    pub token_to_read: bool,
    /// The allowed values of the `Host` header; `None` if all are allowed.
    pub allowed_hosts: Option<Vec<String>>,
}

/// A configuration that is rejected as insecure.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    #[error(
        "--listen {0} is reachable from other machines but no token is set; pass --auth-token-file, or listen on 127.0.0.1"
    )]
    NoToken(SocketAddr),
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// The sender of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    Anonymous,
    /// A browser that is logged in.
    Browser {
        /// Required in its forms, against cross-site request forgery.
        csrf: String,
    },
    /// A program that sends the token with the request.
    Program,
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
        if !loopback && token.is_none() {
            return Err(SecurityError::NoToken(address));
        }
        let mut hosts = args.allowed_host.clone();
        if loopback {
            hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
            hosts.push(address.ip().to_string());
        }
        Ok(Self {
            token_to_read: token.is_some() && !loopback && !args.anonymous_read,
            logins: token.map(Logins::new),
            allowed_hosts: (!hosts.is_empty()).then_some(hosts),
        })
    }

    /// Checks that `caller` is allowed to make changes, having sent `csrf`.
    ///
    /// # Errors
    /// [`Problem::ReadOnly`], [`Problem::Unauthorized`] or [`Problem::StaleForm`]
    pub fn authorize(&self, caller: &Caller, csrf: &str) -> Result<(), Problem> {
        match caller {
            _ if self.logins.is_none() => Err(Problem::ReadOnly),
            Caller::Anonymous => Err(Problem::Unauthorized),
            _ if !caller.is_authorized(csrf) => Err(Problem::StaleForm),
            Caller::Browser { .. } | Caller::Program => Ok(()),
        }
    }
}

impl Caller {
    /// Returns whether the caller is logged in and has sent its own CSRF token.
    #[must_use]
    pub fn is_authorized(&self, csrf: &str) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Program => true,
            Self::Browser { csrf: expected } => {
                constant_time_eq(expected.as_bytes(), csrf.as_bytes())
            }
        }
    }

    /// The CSRF token for the caller's forms; `None` if forms are of no use to it.
    #[must_use]
    pub fn csrf(&self) -> Option<&str> {
        match self {
            Self::Browser { csrf } => Some(csrf),
            Self::Anonymous | Self::Program => None,
        }
    }

    /// Name in audit records.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Browser { .. } => "browser",
            Self::Program => "token",
        }
    }
}
