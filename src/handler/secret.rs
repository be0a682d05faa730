//! Secrets: by reference in the actions file, never inline.

use std::path::PathBuf;
use std::{env, fmt};

use serde::Deserialize;

use super::fields::{ActionConfigError, ActionName};
use crate::bounded::{self, MAX_SECRET_BYTES};

/// A secret's bytes; not to be seen in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Where a secret is: `{valueFrom: {env: NAME}}` or `{valueFrom: {file: PATH}}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    expecting = "valueFrom: {env: NAME} or valueFrom: {file: PATH}"
)]
pub struct SecretRef {
    value_from: Place,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Fields")]
enum Place {
    Env(String),
    File(PathBuf),
}

/// A secret that is not where the actions file says.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("the environment variable {0} is not set; set it, or name another one")]
    NotSet(String),
    /// The file cannot be read.
    #[error("cannot read {}: {reason}; mount it, or name another file", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: std::io::Error,
    },
    /// There is nothing there.
    #[error("{0} is empty; an empty secret protects nothing")]
    Empty(String),
}

impl Secret {
    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are that.
    #[must_use]
    pub fn expose_text(&self) -> Option<&str> {
        str::from_utf8(&self.0).ok()
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl SecretRef {
    /// Fetches a secret that has to be text, in a field of an action.
    ///
    /// # Errors
    /// [`ActionConfigError`] if there is none, or it is not text.
    pub fn read_text_for(
        &self,
        action: &ActionName,
        field: &'static str,
    ) -> Result<Secret, ActionConfigError> {
        let secret = self.read_for(action, field)?;
        match secret.expose_text() {
            Some(_) => Ok(secret),
            None => Err(ActionConfigError::field(
                action,
                field,
                "it is not UTF-8 text",
            )),
        }
    }

    /// Fetches the secret in a field of an action.
    ///
    /// # Errors
    /// [`ActionConfigError`] if there is none.
    pub fn read_for(
        &self,
        action: &ActionName,
        field: &'static str,
    ) -> Result<Secret, ActionConfigError> {
        let secret = self.read();
        secret.map_err(|error| ActionConfigError::field(action, field, error.to_string()))
    }

    /// Fetches the secret. Line ends at the end of a file do not belong to it: editors and
    /// `echo` leave them there.
    ///
    /// # Errors
    /// [`SecretError`] if there is none.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let (bytes, place) = match &self.value_from {
            Place::Env(name) => {
                let value = env::var_os(name).ok_or_else(|| SecretError::NotSet(name.clone()))?;
                (
                    value.into_encoded_bytes(),
                    format!("the environment variable {name}"),
                )
            }
            Place::File(path) => {
                let bytes = bounded::read_file(path, MAX_SECRET_BYTES);
                let mut bytes = bytes.map_err(|reason| SecretError::Unreadable {
                    path: path.clone(),
                    reason,
                })?;
                while bytes.last().is_some_and(|byte| b"\r\n".contains(byte)) {
                    bytes.pop();
                }
                (bytes, path.display().to_string())
            }
        };
        if bytes.is_empty() {
            return Err(SecretError::Empty(place));
        }
        Ok(Secret(bytes))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    env: Option<String>,
    file: Option<PathBuf>,
}

impl TryFrom<Fields> for Place {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        match (fields.env, fields.file) {
            (Some(name), None) => Ok(Self::Env(name)),
            (None, Some(path)) => Ok(Self::File(path)),
            _ => Err("valueFrom takes one of env and file"),
        }
    }
}
