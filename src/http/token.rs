//! Secrets that callers have to give: read from files, compared in constant time.

use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::bounded::{self, MAX_SECRET};

/// A shorter token could be guessed.
const MIN_CHARACTERS: usize = 16;

/// What whoever asks has to know.
#[derive(Clone)]
pub struct Token(String);

/// A token that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}; check {flag}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: std::io::Error,
        /// The flag that names it.
        flag: &'static str,
    },
    /// It could be guessed.
    #[error(
        "the token in {} has fewer than {MIN_CHARACTERS} characters: make one with `openssl rand -hex 32`", .0.display()
    )]
    Short(PathBuf),
}

impl Token {
    /// Reads the token from the file that `flag` names; white space around it does not
    /// belong to it.
    ///
    /// # Errors
    /// [`TokenError`]
    pub fn read(path: &Path, flag: &'static str) -> Result<Self, TokenError> {
        let text =
            bounded::read_text_file(path, MAX_SECRET).map_err(|reason| TokenError::Unreadable {
                path: path.to_owned(),
                reason,
                flag,
            })?;
        let token = text.trim();
        if token.chars().count() < MIN_CHARACTERS {
            return Err(TokenError::Short(path.to_owned()));
        }
        Ok(Self(token.to_owned()))
    }

    /// A token that nobody has had before: 80 random bits.
    #[must_use]
    pub fn random() -> Self {
        Self(hex::encode(rand::random::<[u8; 10]>()))
    }

    /// Whether this is the token, in a time that does not tell how much of it is right.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        same(self.0.as_bytes(), given)
    }

    /// The token itself, to be sent to whoever asks for it.
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

/// HMAC-SHA256 under `key`.
#[must_use]
pub fn keyed(key: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
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
    fn white_space_around_it_does_not_count() {
        let token = read(" 0123456789abcdef\n").unwrap();
        assert!(token.is(b"0123456789abcdef"));
        assert!(!token.is(b"0123456789abcdeg") && !token.is(b"") && !token.is(b"0123456789abcde"));
        assert!(!format!("{token:?}").contains("0123"));
    }
}
