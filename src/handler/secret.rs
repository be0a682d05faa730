//! Secrets, which the actions file references and never contains.

use std::path::PathBuf;
use std::{env, fmt};

use serde::Deserialize;

use super::fields::{ActionConfigError, ActionName};
use crate::bounded::{self, MAX_SECRET_BYTES};

/// The bytes of a secret, redacted in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// A reference to a secret: `{valueFrom: {env: NAME}}` or `{valueFrom: {file: PATH}}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "camelCase",
    expecting = "valueFrom: {env: NAME} or valueFrom: {file: PATH}"
)]
pub struct SecretRef {
    value_from: SecretSource,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "SecretSourceFields")]
enum SecretSource {
    Env(String),
    File(PathBuf),
}

/// A reference that yields no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the environment variable {0} is not set; set it, or reference another one")]
    NotSet(String),
    #[error("cannot read {}: {reason}; mount it, or reference another file", path.display())]
    Unreadable {
        path: PathBuf,
        reason: std::io::Error,
    },
    #[error("{0} is empty; set a secret")]
    Empty(String),
}

impl Secret {
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The secret as text, if it is UTF-8.
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
    /// Reads the secret in `field` of `action`, which has to be text.
    ///
    /// # Errors
    /// [`ActionConfigError`] if there is none, or it is not UTF-8.
    pub fn read_text_for(
        &self,
        action: &ActionName,
        field: &'static str,
    ) -> Result<Secret, ActionConfigError> {
        let secret = self.read_for(action, field)?;
        match secret.expose_text() {
            Some(_) => Ok(secret),
            None => Err(ActionConfigError::field(action, field, "is not UTF-8 text")),
        }
    }

    /// Reads the secret in `field` of `action`.
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

    /// Reads the secret. Strips line breaks at the end of a file, which editors and `echo` add.
    ///
    /// # Errors
    /// [`SecretError`] if there is none.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let (bytes, source) = match &self.value_from {
            SecretSource::Env(name) => {
                let value = env::var_os(name).ok_or_else(|| SecretError::NotSet(name.clone()))?;
                (
                    value.into_encoded_bytes(),
                    format!("the environment variable {name}"),
                )
            }
            SecretSource::File(path) => {
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
            return Err(SecretError::Empty(source));
        }
        Ok(Secret(bytes))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretSourceFields {
    env: Option<String>,
    file: Option<PathBuf>,
}

impl TryFrom<SecretSourceFields> for SecretSource {
    type Error = &'static str;

    fn try_from(fields: SecretSourceFields) -> Result<Self, Self::Error> {
        match (fields.env, fields.file) {
            (Some(name), None) => Ok(Self::Env(name)),
            (None, Some(path)) => Ok(Self::File(path)),
            _ => Err("valueFrom needs exactly one of env and file"),
        }
    }
}
