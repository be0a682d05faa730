//! Credentials for registries, each a folder of files, as a mounted Secret is.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::RequestBuilder;

use crate::bounded::{self, MAX_SECRET_BYTES};
use crate::source::spec::SchemaRegistry;

/// Where credentials are.
#[derive(Args, Clone, Debug, Default)]
pub struct RegistryCredentialsArgs {
    /// Folder with the credentials of schema registries, each in a subfolder that sources name as
    /// credentialsSecret: `url`, the only registry that they are sent to; `username` and
    /// `password`, or `token`; `ca.crt`, to trust only these certificate authorities.
    #[arg(
        long = "schema-registry-credentials",
        env = "SUNDOWN_SCHEMA_REGISTRY_CREDENTIALS",
        value_name = "DIR"
    )]
    pub directory: Option<PathBuf>,
}

/// Credentials that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    #[error(
        "the source names the credentials '{0}', but this process has none: pass --schema-registry-credentials"
    )]
    NoDirectory(String),
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        path: PathBuf,
        reason: std::io::Error,
    },
    #[error("{} has neither token nor username and password: add them, or the file ca.crt", .0.display())]
    Empty(PathBuf),
    #[error(
        "the credentials '{name}' are for {allowed} and not sent to {url}: correct the source, or the file url"
    )]
    OtherRegistry {
        name: String,
        allowed: String,
        url: String,
    },
}

/// How to authenticate to one registry.
#[derive(Clone, Default)]
pub struct RegistryCredentials {
    login: Option<Login>,
    /// File of the certificate authorities to trust.
    pub authorities: Option<PathBuf>,
}

#[derive(Clone)]
enum Login {
    Basic { username: String, password: String },
    Bearer(String),
}

impl RegistryCredentialsArgs {
    /// Reads the credentials that a source names. Files that were replaced since count.
    ///
    /// # Errors
    /// [`CredentialsError`]
    pub fn read(&self, registry: &SchemaRegistry) -> Result<RegistryCredentials, CredentialsError> {
        let Some(name) = &registry.credentials_secret else {
            return Ok(RegistryCredentials::default());
        };
        let Some(directory) = &self.directory else {
            return Err(CredentialsError::NoDirectory(name.clone()));
        };
        let folder = directory.join(name);
        let text = |file: &str| read(&folder.join(file));
        let allowed = text("url")?;
        if allowed.trim_end_matches('/') != registry.url.trim_end_matches('/') {
            return Err(CredentialsError::OtherRegistry {
                name: name.clone(),
                allowed,
                url: registry.url.clone(),
            });
        }
        let login = if folder.join("token").exists() {
            Some(Login::Bearer(text("token")?))
        } else if folder.join("username").exists() {
            let (username, password) = (text("username")?, text("password")?);
            Some(Login::Basic { username, password })
        } else {
            None
        };
        let authorities = folder.join("ca.crt");
        let authorities = authorities.exists().then_some(authorities);
        if login.is_none() && authorities.is_none() {
            return Err(CredentialsError::Empty(folder));
        }
        Ok(RegistryCredentials { login, authorities })
    }
}

impl RegistryCredentials {
    /// Adds them to a request.
    pub(super) fn authorize(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.login {
            Some(Login::Basic { username, password }) => {
                request.basic_auth(username, Some(password))
            }
            Some(Login::Bearer(token)) => request.bearer_auth(token),
            None => request,
        }
    }
}

impl std::fmt::Debug for RegistryCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RegistryCredentials(…)")
    }
}

fn read(path: &Path) -> Result<String, CredentialsError> {
    let text = bounded::read_text_file(path, MAX_SECRET_BYTES);
    let text = text.map_err(|reason| CredentialsError::Unreadable {
        path: path.to_owned(),
        reason,
    })?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn registry(url: &str) -> SchemaRegistry {
        SchemaRegistry {
            url: url.to_owned(),
            credentials_secret: Some("shop".to_owned()),
        }
    }

    #[test]
    fn credentials_are_sent_to_their_registry_only() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("shop");
        fs::create_dir(&folder).unwrap();
        let args = RegistryCredentialsArgs {
            directory: Some(directory.path().to_owned()),
        };
        let read = |url: &str| args.read(&registry(url)).map_err(|error| error.to_string());
        assert!(read("https://registry").unwrap_err().contains("shop/url"));
        fs::write(folder.join("url"), "https://registry/\n").unwrap();
        let error = read("https://registry").unwrap_err();
        assert!(error.contains("neither token nor username"), "{error}");
        fs::write(folder.join("username"), "ingest\n").unwrap();
        fs::write(folder.join("password"), "secret\n").unwrap();
        let credentials = read("https://registry").unwrap();
        let client = crate::http::client::client_without_proxy(std::time::Duration::from_secs(1));
        let request = credentials.authorize(client.unwrap().get("https://registry"));
        let request = request.build().unwrap();
        assert_eq!(
            request.headers()["authorization"],
            "Basic aW5nZXN0OnNlY3JldA=="
        );
        assert!(!format!("{credentials:?}").contains("secret"));
        let error = read("https://elsewhere").unwrap_err();
        assert!(error.contains("not sent to https://elsewhere"), "{error}");
    }

    #[test]
    fn a_source_without_credentials_needs_no_folder() {
        let args = RegistryCredentialsArgs::default();
        let mut open = registry("http://registry");
        assert!(args.read(&open).is_err());
        open.credentials_secret = None;
        assert!(args.read(&open).is_ok());
    }
}
