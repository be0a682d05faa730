//! The bearer tokens of applications and of pages.

use std::sync::Arc;

use anyhow::Context;

use super::args::HttpArgs;
use crate::http::token_files::{TokenFiles, TokenFolder};

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The name of the token.
    pub name: Arc<str>,
    /// Whether users can read the token, so that it may write activity only.
    pub is_public: bool,
}

/// The tokens of senders.
pub struct SenderTokens(TokenFiles<IsPublic>);

type IsPublic = bool;

impl SenderTokens {
    /// Reads the tokens.
    ///
    /// # Errors
    /// If a folder or a file cannot be read, or there is no token.
    pub fn new(args: &HttpArgs) -> anyhow::Result<Self> {
        let secret = args.http_tokens.clone().context("pass --http-tokens")?;
        let mut folders = vec![TokenFolder {
            path: secret,
            flag: "--http-tokens",
            kind: false,
        }];
        folders.extend(args.http_public_tokens.clone().map(|path| TokenFolder {
            path,
            flag: "--http-public-tokens",
            kind: true,
        }));
        TokenFiles::new(folders).map(Self)
    }

    /// The sender with this token. A token in a query has to be a public one.
    #[must_use]
    pub fn sender(&self, bearer: Option<&[u8]>, query: Option<&[u8]>) -> Option<Sender> {
        let found = self.0.find(|is_public, token| {
            let bearer = bearer.is_some_and(|candidate| token.matches(candidate));
            let query = query.is_some_and(|candidate| token.matches(candidate));
            bearer | (query & is_public)
        });
        found.map(|(name, is_public)| Sender { name, is_public })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_public_token_may_be_in_the_query() {
        let (secret, public) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(secret.path().join("shop"), "0123456789abcdef").unwrap();
        fs::write(public.path().join("page"), "fedcba9876543210").unwrap();
        let folder = |folder: &tempfile::TempDir, kind| TokenFolder {
            path: folder.path().to_owned(),
            flag: "--tokens",
            kind,
        };
        let files = TokenFiles::new(vec![folder(&secret, false), folder(&public, true)]);
        let tokens = SenderTokens(files.unwrap());
        let name = |bearer: Option<&[u8]>, query: Option<&[u8]>| {
            let sender = tokens.sender(bearer, query)?;
            Some((sender.name.to_string(), sender.is_public))
        };
        let (shop, page) = (&b"0123456789abcdef"[..], &b"fedcba9876543210"[..]);
        assert_eq!(name(Some(shop), None), Some(("shop".to_owned(), false)));
        assert_eq!(name(None, Some(shop)), None);
        assert_eq!(name(Some(page), None), Some(("page".to_owned(), true)));
        assert_eq!(name(None, Some(page)), Some(("page".to_owned(), true)));
        assert_eq!(name(None, None), None);
    }
}
