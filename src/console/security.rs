//! Who may see and who may change what.
//!
//! | part | file |
//! |---|---|
//! | who has given the token | `logins.rs` |
//! | what every request has to get past, and every answer says | `guard.rs` |

pub mod guard;
pub mod logins;

use std::net::SocketAddr;

use axum::http::HeaderMap;

use super::args::ConsoleArgs;
use super::problem::Problem;
use crate::http::token::{Token, TokenError, constant_time_eq};
use logins::Logins;

/// The rules of a console.
#[derive(Debug)]
pub struct Security {
    /// Those who have given the token; none if there is no token, so nothing can be changed.
    pub logins: Option<Logins>,
    /// Whether reading takes the token too.
    pub private: bool,
    /// The host names that requests may be for; none if any.
    pub hosts: Option<Vec<String>>,
}

/// Rules that would leave the console open.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// Reachable from other machines, without a token.
    #[error(
        "--listen {0} is reachable from other machines and there is no token: give --auth-token-file, or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
}

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Anyone.
    Anonymous,
    /// Somebody who logged in with this browser; forms have to carry this text.
    Browser {
        /// Against requests that other sites make the browser send.
        csrf: String,
    },
    /// A program that sends the token along.
    Program,
}

/// The token against forged requests that a script's request carries; empty if none.
#[must_use]
pub fn csrf_of(headers: &HeaderMap) -> &str {
    let header = headers.get("x-csrf-token");
    header
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

impl Security {
    /// The rules for a console that listens on `address`.
    ///
    /// # Errors
    /// [`SecurityError`] if that would leave it open.
    pub fn new(args: &ConsoleArgs, address: SocketAddr) -> Result<Self, SecurityError> {
        let file = args.auth_token_file.as_deref();
        let token = file.map(|path| Token::read(path, "--auth-token-file"));
        let token = token.transpose()?;
        let loopback = address.ip().is_loopback();
        if !loopback && token.is_none() {
            return Err(SecurityError::Open(address));
        }
        let mut hosts = args.allowed_host.clone();
        if loopback {
            hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
            hosts.push(address.ip().to_string());
        }
        Ok(Self {
            private: token.is_some() && !loopback && !args.anonymous_read,
            logins: token.map(Logins::new),
            hosts: (!hosts.is_empty()).then_some(hosts),
        })
    }

    /// Lets a change through, asked for by `caller` with `csrf` in its form.
    ///
    /// # Errors
    /// Why not, with the remedy.
    pub fn admit(&self, caller: &Caller, csrf: &str) -> Result<(), Problem> {
        match caller {
            _ if self.logins.is_none() => Err(Problem::ReadOnly),
            Caller::Anonymous => Err(Problem::Unauthorized),
            _ if !caller.may_change(csrf) => Err(Problem::StaleForm),
            Caller::Browser { .. } | Caller::Program => Ok(()),
        }
    }
}

impl Caller {
    /// Whether this caller may change something, having sent `csrf` in a form.
    #[must_use]
    pub fn may_change(&self, csrf: &str) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Program => true,
            Self::Browser { csrf: expected } => {
                constant_time_eq(expected.as_bytes(), csrf.as_bytes())
            }
        }
    }

    /// What forms have to carry; nothing if the caller may change nothing.
    #[must_use]
    pub fn csrf(&self) -> Option<&str> {
        match self {
            Self::Browser { csrf } => Some(csrf),
            Self::Anonymous | Self::Program => None,
        }
    }

    /// For the audit record.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Browser { .. } => "browser",
            Self::Program => "token",
        }
    }
}
