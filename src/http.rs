//! HTTP calls to others: the one place where clients are made.

use std::time::Duration;

use reqwest::{Client, redirect};

/// A client that gives each call `timeout` in all, of which at most half to connect, so
/// that a target that cannot be reached can be told from one that is slow.
///
/// It does not follow redirects: they would carry credentials and the details of sessions
/// to wherever the target, or somebody in its place, points.
///
/// # Errors
/// If the certificates of the authorities to trust cannot be loaded.
pub fn client(timeout: Duration) -> reqwest::Result<Client> {
    // Fails if there is a provider already, which is just as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("sundown/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .timeout(timeout)
        .connect_timeout(timeout / 2)
        .build()
}

/// What went wrong in a call, with all its causes; the URL is left out, because what is
/// in its path or query may be a secret.
#[must_use]
pub fn describe(error: reqwest::Error) -> String {
    let error = anyhow::Error::new(error.without_url());
    format!("{error:#}")
}
