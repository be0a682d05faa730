//! Transmitters of security events, and their keys.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::JwkSet;
use reqwest::Url;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::events::OpaqueSubject;
use crate::bounded::{self, MAX_DOCUMENT_BYTES};
use crate::clock::Clock;
use crate::http::client::client;
use crate::http::signing_keys::{fetch_keys, select};

/// Bounds a request for keys.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often keys are fetched at most: any client can send a token with an unknown key.
const FETCH_INTERVAL: Duration = Duration::from_secs(30);
/// How long fetched keys are used: a transmitter withdraws a key by no longer publishing it.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// A transmitter, as in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TransmitterConfig {
    issuer: String,
    /// The `aud` of tokens that are meant for this receiver.
    audience: String,
    jwks_uri: String,
    /// PEM certificates of the trusted authorities, instead of those of the system.
    ca_file: Option<PathBuf>,
    #[serde(default)]
    opaque_subject: OpaqueSubject,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TransmittersFile {
    transmitters: Vec<TransmitterConfig>,
}

/// A transmitter whose tokens are accepted.
pub struct Transmitter {
    pub issuer: String,
    pub audience: String,
    pub opaque_subject: OpaqueSubject,
    keys: TransmitterKeys,
}

/// The keys of a transmitter, fetched when they are needed.
struct TransmitterKeys {
    uri: Url,
    client: reqwest::Client,
    clock: Clock,
    state: Mutex<FetchedKeys>,
}

#[derive(Default)]
struct FetchedKeys {
    keys: Option<JwkSet>,
    /// When they were fetched.
    at: Duration,
    /// When they were last asked for, and why that failed.
    asked: Option<(Duration, Option<String>)>,
}

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    #[error("the transmitter has no key '{0}'")]
    Unknown(String),
    #[error("the keys of the transmitter cannot be fetched: {0}")]
    Unavailable(String),
}

/// Reads the transmitters of a file.
///
/// # Errors
/// If it cannot be read, or two transmitters have the same issuer.
pub fn read(path: &Path) -> anyhow::Result<Vec<Transmitter>> {
    let cannot = || format!("cannot read {}: check --ssf-transmitters", path.display());
    let text = bounded::read_text_file(path, MAX_DOCUMENT_BYTES).with_context(cannot)?;
    let file: TransmittersFile = serde_yaml::from_str(&text).with_context(cannot)?;
    ensure!(
        !file.transmitters.is_empty(),
        "there is no transmitter in {}: add one",
        path.display()
    );
    let mut transmitters: Vec<Transmitter> = Vec::new();
    for config in file.transmitters {
        let issuer = config.issuer;
        ensure!(
            transmitters.iter().all(|known| known.issuer != issuer),
            "{} has the transmitter {issuer} twice: remove one",
            path.display()
        );
        let authorities = config.ca_file.as_deref();
        let uri = Url::parse(&config.jwks_uri)
            .with_context(|| format!("check the jwksUri of the transmitter {issuer}"))?;
        transmitters.push(Transmitter {
            audience: config.audience,
            opaque_subject: config.opaque_subject,
            keys: TransmitterKeys {
                client: client(TIMEOUT, authorities, uri.host_str())
                    .with_context(|| format!("check the transmitter {issuer}"))?,
                uri,
                clock: Clock::default(),
                state: Mutex::default(),
            },
            issuer,
        });
    }
    Ok(transmitters)
}

impl Transmitter {
    /// The key of a token; without an id, the only one that there is.
    ///
    /// # Errors
    /// [`SigningKeyError`]
    pub async fn key(&self, id: Option<&str>) -> Result<Arc<DecodingKey>, SigningKeyError> {
        self.keys.find(id).await
    }
}

impl TransmitterKeys {
    async fn find(&self, id: Option<&str>) -> Result<Arc<DecodingKey>, SigningKeyError> {
        // One request at a time fetches the keys; the others wait for it.
        let mut state = self.state.lock().await;
        let now = self.clock.elapsed();
        let is_old = state.keys.is_none() || now.saturating_sub(state.at) >= MAX_AGE;
        let known = state.keys.as_ref().and_then(|keys| select(keys, id));
        if let (Some(key), false) = (&known, is_old) {
            return Ok(Arc::clone(key));
        }
        let asked = state.asked.as_ref().map(|(at, _)| *at);
        let may_ask = asked.is_none_or(|at| now.saturating_sub(at) >= FETCH_INTERVAL);
        if may_ask {
            let fetched = fetch_keys(&self.client, &self.uri).await;
            state.asked = Some((now, fetched.as_ref().err().cloned()));
            if let Ok(keys) = fetched {
                (state.keys, state.at) = (Some(keys), now);
            }
        }
        if let Some(key) = state.keys.as_ref().and_then(|keys| select(keys, id)) {
            return Ok(key);
        }
        match &state.asked {
            Some((_, Some(problem))) => Err(SigningKeyError::Unavailable(problem.clone())),
            _ => Err(SigningKeyError::Unknown(id.unwrap_or_default().to_owned())),
        }
    }
}
