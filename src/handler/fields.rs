//! Fields that several kinds of action have.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

use crate::wire;

pub use super::secret::{Secret, SecretError, SecretRef};

/// The longest name of an action, in bytes; as of a DNS label.
const MAX_NAME_BYTES: usize = 63;

/// What an action is called: lower-case letters, digits and inner hyphens, so that it can
/// stand in headers, metric labels and Kubernetes names as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActionName(String);

impl ActionName {
    /// The name of the only action of its kind; kinds are named by the same rules.
    pub(in crate::handler) fn of_kind(kind: &'static str) -> Self {
        Self(kind.to_owned())
    }

    /// The name.
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
        let fits = (1..=MAX_NAME_BYTES).contains(&name.len())
            && name.bytes().all(inner)
            && !name.starts_with('-')
            && !name.ends_with('-');
        if fits {
            Ok(Self(name.to_owned()))
        } else {
            Err(format!(
                "'{name}' cannot be an action's name: use up to {MAX_NAME_BYTES} lower-case \
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

/// A duration as in `90s`, longer than nothing.
///
/// # Errors
/// The deserializer's, with what is wrong and how it is written.
pub fn duration<'de, D: Deserializer<'de>>(field: D) -> Result<Duration, D::Error> {
    parsed(field, "a duration like 90s or 1h30m", |text| {
        let span = wire::duration::parse(text).map_err(|error| error.to_string())?;
        match u64::try_from(span.as_millis()) {
            Ok(millis @ 1..) => Ok(Duration::from_millis(millis)),
            _ => Err("must be longer than 0s".to_owned()),
        }
    })
}

/// Where calls go: `http` or `https`, and no password in it.
///
/// # Errors
/// The deserializer's, with what is wrong.
pub fn url<'de, D: Deserializer<'de>>(field: D) -> Result<Url, D::Error> {
    parsed(field, "a URL", |text| {
        url_without_credentials(text, ["https", "http"], "https://host/path")
    })
}

/// A URL with one of two schemes and no password in it. The text itself is left out of
/// messages: there may be a password in it.
///
/// # Errors
/// What is wrong, and how it is written.
pub fn url_without_credentials(
    text: &str,
    schemes: [&str; 2],
    example: &str,
) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("not a URL: {error}; write it like {example}"))?;
    if !schemes.contains(&url.scheme()) {
        let [one, other] = schemes;
        let scheme = url.scheme();
        return Err(format!(
            "must start with {one}:// or {other}://, not {scheme}:"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let reason = "must not hold a user name or password: this file is no place for secrets";
        return Err(reason.to_owned());
    }
    Ok(url)
}

/// Parses text while it is being read: an error that comes any later would no longer name
/// the field and its line. `expected` completes "expected …" where there is no text at all.
///
/// # Errors
/// The deserializer's, with what `parse` says.
pub fn parsed<'de, T, D: Deserializer<'de>>(
    field: D,
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    field.deserialize_str(Parsed(expected, parse))
}

struct Parsed<T>(&'static str, fn(&str) -> Result<T, String>);

impl<T> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.1)(text).map_err(E::custom)
    }
}

/// Why what an actions file says cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum ActionConfigError {
    /// There is nothing to do.
    #[error("it names no actions; leave out --actions to only log what ends")]
    NoActions,
    /// Two actions by one name.
    #[error("two actions are called '{0}'; rename one of them")]
    Duplicate(ActionName),
    /// An action that cannot be made ready.
    #[error("action '{action}', {field}: {problem}")]
    Field {
        /// Which action.
        action: ActionName,
        /// Which of its fields.
        field: &'static str,
        /// What is wrong with it, and what to do.
        problem: String,
    },
}

impl ActionConfigError {
    /// `field` of `action` is wrong in this way.
    pub fn field(action: &ActionName, field: &'static str, problem: impl Into<String>) -> Self {
        Self::Field {
            action: action.clone(),
            field,
            problem: problem.into(),
        }
    }
}
