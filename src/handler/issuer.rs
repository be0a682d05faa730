//! The issuer of signed tokens, under whose URL receivers find its keys and streams.

use reqwest::Url;

/// The path of the keys, which OpenID Connect providers use too.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";

/// An issuer as in the tokens that it signs: an `https` or `http` URL without query and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(String);

impl Issuer {
    /// Parses a command-line value.
    ///
    /// # Errors
    /// If it is no URL, or none that a relying party can append a path to.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let is_http = matches!(url.scheme(), "https" | "http");
        if !is_http || url.query().is_some() || url.fragment().is_some() {
            return Err("must be an https or http URL without query and fragment".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// The issuer, as in tokens.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL of a path below the issuer.
    #[must_use]
    pub fn url_of(&self, path: &str) -> String {
        format!("{}{path}", self.0.trim_end_matches('/'))
    }

    /// The URL of the keys.
    #[must_use]
    pub fn jwks_uri(&self) -> String {
        self.url_of(JWKS_PATH)
    }
}
