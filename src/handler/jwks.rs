//! Serves the public keys of signing actions, how to find them, and the streams of Shared Signals.
//! Relying parties and receivers reach this listener, so it serves nothing else.

use std::sync::Arc;

use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm};
use serde::Serialize;

use super::action::shared_signals::stream::SignalStream;
use super::issuer::{Issuer, JWKS_PATH};
use super::streams;
use crate::http::server::{HttpServer, ListenError, listen};
use crate::http::tls::ServerIdentity;

/// Relying parties may cache the keys for this many seconds, so a new key has to be published for
/// as long before it signs.
const CACHE_CONTROL: &str = "public, max-age=300";

/// The path of OpenID Connect Discovery 1.0, section 4.
pub const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

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

fn document(issuer: &Issuer, keys: &[Jwk]) -> DiscoveryDocument {
    let mut algorithms: Vec<KeyAlgorithm> = Vec::new();
    for algorithm in keys.iter().filter_map(|key| key.common.key_algorithm) {
        if !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
    }
    DiscoveryDocument {
        issuer: issuer.as_str().to_owned(),
        jwks_uri: issuer.jwks_uri(),
        response_types_supported: [],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: algorithms,
    }
}

/// Serves `keys` on `address`, and the discovery document and `streams` of an issuer that has them,
/// until the returned server is dropped.
///
/// # Errors
/// [`ListenError`] if the address is in use or does not belong to this machine.
pub async fn start(
    address: &str,
    keys: Vec<Jwk>,
    issuer: Option<&Issuer>,
    streams: Vec<Arc<SignalStream>>,
    identity: Option<Arc<ServerIdentity>>,
) -> Result<HttpServer, ListenError> {
    let (listener, address) = listen(address, "--jwks-listen").await?;
    tracing::info!(jwks = %address, keys = keys.len(), tls = identity.is_some(), "serving {JWKS_PATH}");
    let mut router = Router::new();
    if let Some(issuer) = issuer {
        router = router.route(DISCOVERY_PATH, serve(document(issuer, &keys)));
        if !streams.is_empty() {
            router = router.merge(streams::router(issuer, streams));
        }
    }
    let router = router.route(JWKS_PATH, serve(JwkSet { keys }));
    Ok(HttpServer::start_with(
        (listener, address),
        identity,
        router,
    ))
}

fn serve(document: impl Serialize + Send + Sync + 'static) -> MethodRouter {
    let document = Arc::new(document);
    get(move || {
        let cache = [(header::CACHE_CONTROL, CACHE_CONTROL)];
        std::future::ready((cache, Json(&*document)).into_response())
    })
}
