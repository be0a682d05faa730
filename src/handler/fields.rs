//! Field types that several actions share, and configuration errors.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use crate::wire;

pub use super::secret::{Secret, SecretError, SecretRef};

/// The limit of a DNS label.
const MAX_NAME_BYTES: usize = 63;

/// The name of an action: lower-case letters, digits and inner hyphens, so that it is valid in
/// headers, metric labels and Kubernetes names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActionName(String);

impl ActionName {
    /// Names an action after its type. Type names are valid action names.
    pub(in crate::handler) fn of_type(action_type: &'static str) -> Self {
        Self(action_type.to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ActionName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let valid = (1..=MAX_NAME_BYTES).contains(&name.len())
            && name.bytes().all(inner)
            && !name.starts_with('-')
            && !name.ends_with('-');
        if valid {
            Ok(Self(name.to_owned()))
        } else {
            Err(format!(
                "'{name}' is not a valid action name: use up to {MAX_NAME_BYTES} lower-case \
                 letters, digits and inner hyphens"
            ))
        }
    }
}

impl<'de> Deserialize<'de> for ActionName {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        parsed(field, "a name", str::parse)
    }
}

/// Deserializes a positive duration such as `90s`.
///
/// # Errors
/// If it is not one; with an example.
pub fn duration<'de, D: Deserializer<'de>>(field: D) -> Result<Duration, D::Error> {
    parsed(field, "a duration like 90s or 1h30m", |text| {
        let span = wire::duration::parse(text).map_err(|error| error.to_string())?;
        match u64::try_from(span.as_millis()) {
            Ok(millis @ 1..) => Ok(Duration::from_millis(millis)),
            _ => Err("must be longer than 0s".to_owned()),
        }
    })
}

/// A text that takes no template. Braces are refused, because they would be sent as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal(String);

impl Literal {
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl<'de> Deserialize<'de> for Literal {
    fn deserialize<D: Deserializer<'de>>(field: D) -> Result<Self, D::Error> {
        parsed(field, "a text", |text| {
            if ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
                return Err("takes no template; write a fixed text without braces".to_owned());
            }
            Ok(Self(text.to_owned()))
        })
    }
}

/// Deserializes an `http` or `https` URL without credentials.
///
/// # Errors
/// If it is not one; with an example.
pub fn url<'de, D: Deserializer<'de>>(field: D) -> Result<Url, D::Error> {
    parsed(field, "a URL", |text| {
        url_without_credentials(text, ["https", "http"], "https://host/path")
    })
}

/// Parses a URL with one of two schemes and without credentials. Errors do not contain the text,
/// because it may contain a password.
///
/// # Errors
/// The problem; with `example`.
pub fn url_without_credentials(
    text: &str,
    schemes: [&str; 2],
    example: &str,
) -> Result<Url, String> {
    if text.contains(['{', '}']) {
        return Err("takes no template; write a fixed URL without braces".to_owned());
    }
    let url =
        Url::parse(text).map_err(|error| format!("not a URL: {error}; write it like {example}"))?;
    if !schemes.contains(&url.scheme()) {
        let [first, second] = schemes;
        let scheme = url.scheme();
        return Err(format!(
            "must start with {first}:// or {second}://, not {scheme}:"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let reason = "must not contain a user name or password; secrets do not belong in this file";
        return Err(reason.to_owned());
    }
    Ok(url)
}

/// Parses text during deserialization, so that errors name the field and its line. `expected`
/// completes "expected …" for values that are not text.
///
/// # Errors
/// The error of `parse`, as the deserializer's.
pub fn parsed<'de, T, D: Deserializer<'de>>(
    field: D,
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    field.deserialize_str(ParsedVisitor(expected, parse))
}

/// Checks that credentials go to an encrypted URL.
///
/// # Errors
/// [`ActionConfigError`] for `http://`, unless `insecure` is set.
pub fn require_encryption(
    action: &ActionName,
    field: &'static str,
    url: &Url,
    insecure: bool,
) -> Result<(), ActionConfigError> {
    if url.scheme() == "https" || insecure {
        return Ok(());
    }
    let problem = "http:// would send credentials without encryption; use https://, or set \
                   insecure: true if the network protects them";
    Err(ActionConfigError::field(action, field, problem))
}

struct ParsedVisitor<T>(&'static str, fn(&str) -> Result<T, String>);

impl<T> Visitor<'_> for ParsedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).map_err(E::custom)
    }
}

/// An actions file that is well-formed but not valid.
#[derive(Debug, thiserror::Error)]
pub enum ActionConfigError {
    #[error("the list of actions is empty; to only log endings, omit --actions")]
    NoActions,
    #[error("two actions are named '{0}'; rename one of them")]
    Duplicate(ActionName),
    #[error("two signing keys have the kid '{0}'; receivers could not distinguish them")]
    DuplicateKey(String),
    #[error("action '{action}', {field}: {problem}")]
    Field {
        action: ActionName,
        field: &'static str,
        /// The problem and the remedy.
        problem: String,
    },
}

impl ActionConfigError {
    /// Creates [`ActionConfigError::Field`].
    pub fn field(action: &ActionName, field: &'static str, problem: impl Into<String>) -> Self {
        Self::Field {
            action: action.clone(),
            field,
            problem: problem.into(),
        }
    }
}
