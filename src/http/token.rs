//! Bearer tokens: read from files, compared in constant time.

use std::path::{Path, PathBuf};

use axum::http::header::{self, HeaderMap};
use hmac::{Hmac, KeyInit};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::bounded::{self, MAX_SECRET_BYTES};

/// Minimum length of a token; a shorter one could be guessed.
const MIN_TOKEN_CHARS: usize = 16;

/// A secret that authenticates clients.
#[derive(Clone)]
pub struct Token(String);

/// A token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("cannot read {}: {reason}; check {flag}", path.display())]
    Unreadable {
        path: PathBuf,
        reason: std::io::Error,
        flag: &'static str,
    },
    #[error(
        "the token in {} has fewer than {MIN_TOKEN_CHARS} characters; generate one with `openssl rand -hex 32`", .0.display()
    )]
    TooShort(PathBuf),
}

impl Token {
    /// Reads the token from the file at `path`, the value of `flag`, without surrounding white
    /// space.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn read(path: &Path, flag: &'static str) -> Result<Self, TokenError> {
        let text = bounded::read_text_file(path, MAX_SECRET_BYTES).map_err(|reason| {
            TokenError::Unreadable {
                path: path.to_owned(),
                reason,
                flag,
            }
        })?;
        let token = text.trim();
        if token.chars().count() < MIN_TOKEN_CHARS {
            return Err(TokenError::TooShort(path.to_owned()));
        }
        Ok(Self(token.to_owned()))
    }

    /// Generates a token of 80 random bits.
    #[must_use]
    pub fn random() -> Self {
        Self(hex::encode(rand::random::<[u8; 10]>()))
    }

    /// Returns whether `candidate` is the token, in constant time.
    #[must_use]
    pub fn matches(&self, candidate: &[u8]) -> bool {
        constant_time_eq(self.0.as_bytes(), candidate)
    }

    /// The token in clear text, to be sent to a server that requires it.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The bearer token of a request (RFC 6750, section 2.1).
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?;
    value.as_bytes().strip_prefix(b"Bearer ")
}

/// Compares two byte strings in a time that depends on their lengths alone.
#[must_use]
pub fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// HMAC-SHA256 under `key`.
#[must_use]
pub fn hmac_sha256(key: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC accepts keys of any length")]
    Hmac::new_from_slice(key).expect("a key")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Token, TokenError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Token::read(file.path(), "--auth-token-file")
    }

    #[test]
    fn a_short_token_is_refused() {
        let error = read("secret\n").unwrap_err().to_string();
        assert!(error.contains("openssl rand"), "{error}");
    }

    #[test]
    fn surrounding_white_space_is_ignored() {
        let token = read(" 0123456789abcdef\n").unwrap();
        assert!(token.matches(b"0123456789abcdef"));
        for other in ["0123456789abcdeg", "0123456789abcde", ""] {
            assert!(!token.matches(other.as_bytes()), "{other}");
        }
        assert!(!format!("{token:?}").contains("0123"));
    }
}
