//! Keys that other parties sign JWTs with (RFC 7517).

use std::sync::Arc;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Client, Url};

use super::client::{BodyError, describe, read_body};

/// Limit on a set of keys, in bytes.
const MAX_KEYS_BYTES: usize = 1 << 20;
/// Signatures with public keys. The others would make the published key a shared secret.
pub const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Fetches a document of at most `max` bytes.
///
/// # Errors
/// What went wrong, in words.
pub async fn fetch(client: &Client, url: &Url, max: usize) -> Result<Vec<u8>, String> {
    let response = client.get(url.clone()).send().await;
    read(response.map_err(describe)?, url, max).await
}

/// Reads the body of a response, of at most `max` bytes.
///
/// # Errors
/// What went wrong, in words; also if the status is none of success.
pub async fn read(
    mut response: reqwest::Response,
    url: &Url,
    max: usize,
) -> Result<Vec<u8>, String> {
    if !response.status().is_success() {
        return Err(format!("{url} answered {}", response.status()));
    }
    let body = read_body(&mut response, max).await;
    body.map_err(|error| match error {
        BodyError::TooLong(_) => format!("{url} answered too much"),
        BodyError::Broken(error) => describe(error),
    })
}

/// Fetches a set of keys.
///
/// # Errors
/// What went wrong, in words.
pub async fn fetch_keys(client: &Client, url: &Url) -> Result<JwkSet, String> {
    let body = fetch(client, url, MAX_KEYS_BYTES).await?;
    serde_json::from_slice(&body).map_err(|error| format!("{url} answered no JWK set: {error}"))
}

/// The key of this id; without an id, the only one that there is.
#[must_use]
pub fn select(keys: &JwkSet, id: Option<&str>) -> Option<Arc<DecodingKey>> {
    let key = match id {
        Some(id) => keys.find(id),
        None => match keys.keys.as_slice() {
            [only] => Some(only),
            _ => None,
        },
    };
    DecodingKey::from_jwk(key?).ok().map(Arc::new)
}
