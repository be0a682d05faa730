//! HTTP calls to others: the one place where clients are made.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use reqwest::{Certificate, Client, ClientBuilder, redirect};

/// A client that gives each call `timeout` in all, of which at most half to connect, so
/// that a target that cannot be reached can be told from one that is slow. It trusts the
/// authorities in the PEM file `authorities`, or else those that the system trusts.
///
/// It does not follow redirects: they would carry credentials and the details of sessions
/// to wherever the target, or somebody in its place, points.
///
/// # Errors
/// If the certificates of the authorities to trust cannot be loaded.
pub fn client(timeout: Duration, authorities: Option<&Path>) -> anyhow::Result<Client> {
    let mut builder = builder(timeout);
    if let Some(path) = authorities {
        let pem = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        builder = builder.tls_certs_only(Certificate::from_pem_bundle(&pem)?);
    }
    Ok(builder.build()?)
}

/// The same for other processes of this installation: they are reached without a proxy.
///
/// # Errors
/// If the client cannot be made.
pub fn direct_client(timeout: Duration) -> anyhow::Result<Client> {
    Ok(builder(timeout).no_proxy().build()?)
}

fn builder(timeout: Duration) -> ClientBuilder {
    provide_tls();
    Client::builder()
        .user_agent(concat!("sundown/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .timeout(timeout)
        .connect_timeout(timeout / 2)
}

/// Gives the process its cryptography; every TLS client needs that before it is made.
pub fn provide_tls() {
    // Fails if there is a provider already, which is just as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// What went wrong in a call, with all its causes; the URL is left out, because what is
/// in its path or query may be a secret.
#[must_use]
pub fn describe(error: reqwest::Error) -> String {
    let error = anyhow::Error::new(error.without_url());
    format!("{error:#}")
}
