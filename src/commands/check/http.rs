//! Sends the events of a check to the HTTP port of ingest.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;

use crate::clock::Clock;
use crate::http::client::{client_without_proxy, describe};
use crate::http::token::Token;

/// Bounds a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval between attempts.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Limit on the part of an answer that an error quotes, in characters.
const MAX_QUOTED: usize = 300;

/// `POST /v1/events` of ingest.
pub(super) struct EventEndpoint {
    client: Client,
    url: String,
    token: Token,
}

impl EventEndpoint {
    /// Sends to `base`, with the token in the file `token`, or the first of a folder.
    ///
    /// # Errors
    /// If the token cannot be read.
    pub(super) fn new(base: &str, token: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            client: client_without_proxy(REQUEST_TIMEOUT)?,
            url: format!("{}/v1/events", base.trim_end_matches('/')),
            token: Token::read(&token_file(token)?, "--http-token")?,
        })
    }

    /// Sends events in one request, again until `timeout` if it fails.
    ///
    /// # Errors
    /// The last failure.
    pub(super) async fn send(&self, events: &[Vec<u8>], timeout: Duration) -> anyhow::Result<()> {
        let body = [b"[", events.join(&b',').as_slice(), b"]"].concat();
        let clock = Clock::default();
        loop {
            let result = self.send_once(&body).await;
            if result.is_ok() || clock.elapsed() >= timeout {
                return result.with_context(|| {
                    format!("{} took no events; check --http, --http-token and that ingest runs with --http-listen", self.url)
                });
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    async fn send_once(&self, body: &[u8]) -> anyhow::Result<()> {
        let request = self
            .client
            .post(&self.url)
            .bearer_auth(self.token.secret())
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_vec());
        let sent = request.send().await;
        let response = sent.map_err(|error| anyhow::anyhow!(describe(error)))?;
        let status = response.status();
        let answer = response.text().await.unwrap_or_default();
        let quoted: String = answer.chars().take(MAX_QUOTED).collect();
        ensure!(status.is_success(), "it answered {status}: {quoted}");
        Ok(())
    }
}

/// The file at a path, or the first of the tokens in a folder.
fn token_file(path: &Path) -> anyhow::Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let cannot = || format!("cannot read {}: check --http-token", path.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(path).with_context(cannot)? {
        let file = entry.with_context(cannot)?.path();
        let name = file.file_name().and_then(|name| name.to_str());
        // A mounted Secret has others, which begin with a dot.
        if name.is_some_and(|name| !name.starts_with('.')) {
            files.push(file);
        }
    }
    let first = files.into_iter().min();
    first.with_context(|| {
        format!(
            "there is no token in {}: check --http-token",
            path.display()
        )
    })
}
