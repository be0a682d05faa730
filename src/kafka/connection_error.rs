//! Errors of the connection flags, and reads of the files that they name.

use std::path::{Path, PathBuf};

use crate::bounded::{self, MAX_SECRET_BYTES};

/// Connection flags that are inconsistent or name an unreadable file.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error(
        "--sasl-mechanism requires a password; set --sasl-password-file or SUNDOWN_SASL_PASSWORD"
    )]
    NoPassword,
    #[error("--sasl-mechanism OAUTHBEARER requires {flag}; set it")]
    NoOAuth { flag: &'static str },
    #[error(
        "--oauth-token-url is set, but the SASL mechanism is not OAUTHBEARER; set --sasl-mechanism OAUTHBEARER"
    )]
    OtherMechanism,
    #[error("cannot read {}: {source}; check {flag}", path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
        flag: &'static str,
    },
}

/// The content of a file without the line end.
pub(super) fn read_secret(path: &Path, flag: &'static str) -> Result<String, ConnectionError> {
    let text = bounded::read_text_file(path, MAX_SECRET_BYTES);
    let text = text.map_err(|source| file_error(path, source, flag))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

pub(super) fn file_error(
    path: &Path,
    source: std::io::Error,
    flag: &'static str,
) -> ConnectionError {
    ConnectionError::File {
        path: path.to_owned(),
        source,
        flag,
    }
}
