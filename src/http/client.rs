//! Construction of HTTP clients.

use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Response, redirect};

use super::authorities;

/// Builds a client with `timeout` per request, at most half of it for connecting, so that an
/// unreachable target differs from a slow one. It trusts the certificate authorities in the PEM
/// file `authorities`, by default those of the system. `host` is the server to call.
///
/// The client follows no redirects: they would send credentials and session data to any
/// address that the target names.
///
/// # Errors
/// If the certificate authorities cannot be loaded.
pub fn client(
    timeout: Duration,
    authorities: Option<&Path>,
    host: Option<&str>,
) -> anyhow::Result<Client> {
    let mut builder = builder(timeout);
    if let Some(path) = authorities {
        let pem = authorities::read(path, host)?;
        builder = builder.tls_certs_only(Certificate::from_pem_bundle(&pem)?);
    }
    Ok(builder.build()?)
}

/// Builds a client for other processes of the installation, which bypasses HTTP proxies.
///
/// # Errors
/// If the client cannot be built.
pub fn client_without_proxy(timeout: Duration) -> anyhow::Result<Client> {
    Ok(builder(timeout).no_proxy().build()?)
}

fn builder(timeout: Duration) -> ClientBuilder {
    install_crypto_provider();
    Client::builder()
        .user_agent(concat!("sundown/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .timeout(timeout)
        .connect_timeout(timeout / 2)
}

/// Installs the process-wide cryptography provider of rustls, which TLS clients require.
pub fn install_crypto_provider() {
    // Fails if a provider is installed already, which is fine.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Describes a failed request with all its causes. The URL is omitted, because its path or
/// query may contain a secret.
#[must_use]
pub fn describe(error: reqwest::Error) -> String {
    let error = anyhow::Error::new(error.without_url());
    format!("{error:#}")
}

/// Why the body of a response was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("it has more than {0} bytes")]
    TooLong(usize),
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
}

/// Reads the body of a response, of at most `max` bytes.
///
/// # Errors
/// [`BodyError`]
pub async fn read_body(response: &mut Response, max: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max {
            return Err(BodyError::TooLong(max));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
