//! Serves the public keys of signing actions, and how to find them. Relying parties reach this
//! listener, so it serves nothing else.

use std::sync::Arc;

use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm};
use reqwest::Url;
use serde::Serialize;

use crate::http::server::{HttpServer, ListenError, listen};

/// The path that OpenID Connect providers use.
pub const PATH: &str = "/.well-known/jwks.json";
/// Relying parties may cache the keys for this many seconds, so a new key has to be published for
/// as long before it signs.
const CACHE_CONTROL: &str = "public, max-age=300";

/// The path of OpenID Connect Discovery 1.0, section 4.
pub const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// An issuer as in the tokens that it signs: an `https` or `http` URL without query and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(String);

/// The part of a provider's metadata that leads to its keys (OpenID Connect Discovery 1.0,
/// section 3). No user logs in here, so there are no endpoints.
#[derive(Serialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
    response_types_supported: [&'static str; 0],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: Vec<KeyAlgorithm>,
}

impl Issuer {
    /// Parses a command-line value.
    ///
    /// # Errors
    /// If it is no URL, or none that a relying party can append a path to.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let is_http = matches!(url.scheme(), "https" | "http");
        if !is_http || url.query().is_some() || url.fragment().is_some() {
            return Err("must be an https or http URL without query and fragment".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    fn document(&self, keys: &[Jwk]) -> DiscoveryDocument {
        let mut algorithms: Vec<KeyAlgorithm> = Vec::new();
        for algorithm in keys.iter().filter_map(|key| key.common.key_algorithm) {
            if !algorithms.contains(&algorithm) {
                algorithms.push(algorithm);
            }
        }
        DiscoveryDocument {
            issuer: self.0.clone(),
            jwks_uri: format!("{}{PATH}", self.0.trim_end_matches('/')),
            response_types_supported: [],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: algorithms,
        }
    }
}

/// Serves `keys` on `address`, and the discovery document of an issuer that has them, until the
/// returned server is dropped.
///
/// # Errors
/// [`ListenError`] if the address is in use or does not belong to this machine.
pub async fn start(
    address: &str,
    keys: Vec<Jwk>,
    issuer: Option<&Issuer>,
) -> Result<HttpServer, ListenError> {
    let (listener, address) = listen(address, "--jwks-listen").await?;
    tracing::info!(jwks = %address, keys = keys.len(), "serving {PATH}");
    let mut router = Router::new();
    if let Some(issuer) = issuer {
        router = router.route(DISCOVERY_PATH, serve(issuer.document(&keys)));
    }
    let router = router.route(PATH, serve(JwkSet { keys }));
    Ok(HttpServer::start(listener, address, router))
}

fn serve(document: impl Serialize + Send + Sync + 'static) -> MethodRouter {
    let document = Arc::new(document);
    get(move || {
        let cache = [(header::CACHE_CONTROL, CACHE_CONTROL)];
        std::future::ready((cache, Json(&*document)).into_response())
    })
}
