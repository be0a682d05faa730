//! Fields that several kinds of action have.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Deserializer, de};

use crate::wire;

/// The longest name of an action, in bytes; as of a DNS label.
const MAX_NAME_BYTES: usize = 63;

/// What an action is called: lower-case letters, digits and inner hyphens, so that it can
/// stand in headers, metric labels and Kubernetes names as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
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

impl TryFrom<String> for ActionName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=MAX_NAME_BYTES).contains(&name.len())
            && name.bytes().all(inner)
            && !name.starts_with('-')
            && !name.ends_with('-');
        if fits {
            Ok(Self(name))
        } else {
            Err(format!(
                "'{name}' cannot be an action's name: use up to {MAX_NAME_BYTES} lower-case \
                 letters, digits and inner hyphens"
            ))
        }
    }
}

/// A duration as in `90s`, longer than nothing.
///
/// # Errors
/// The deserializer's, with what is wrong and how it is written.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let span = wire::duration::parse(&text).map_err(de::Error::custom)?;
    match u64::try_from(span.as_millis()) {
        Ok(millis @ 1..) => Ok(Duration::from_millis(millis)),
        _ => Err(de::Error::custom("a duration here must be more than 0s")),
    }
}

/// Where calls go: `http` or `https`, and no password in it.
///
/// # Errors
/// The deserializer's, with what is wrong.
pub fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    // The text itself is left out of messages: there may be a password in it.
    let url = Url::parse(&text).map_err(|error| {
        de::Error::custom(format!(
            "not a URL: {error}; write it like https://host/path"
        ))
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = url.scheme();
        return Err(de::Error::custom(format!(
            "a URL here starts with https:// or http://, not {scheme}:"
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(de::Error::custom(
            "a URL here must not hold a user name or password: this file is no place for secrets",
        ));
    }
    Ok(url)
}
