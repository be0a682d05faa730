//! Serves the public keys of signing actions. Relying parties reach this listener, so it serves
//! nothing else.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jsonwebtoken::jwk::{Jwk, JwkSet};

use crate::http::server::{HttpServer, ListenError, listen};

/// The path that OpenID Connect providers use.
pub const PATH: &str = "/.well-known/jwks.json";
/// Relying parties may cache the keys for this many seconds, so a new key has to be published for
/// as long before it signs.
const CACHE_CONTROL: &str = "public, max-age=300";

/// Serves `keys` on `address` until the returned server is dropped.
///
/// # Errors
/// [`ListenError`] if the address is in use or does not belong to this machine.
pub async fn start(address: &str, keys: Vec<Jwk>) -> Result<HttpServer, ListenError> {
    let (listener, address) = listen(address, "--jwks-listen").await?;
    tracing::info!(jwks = %address, keys = keys.len(), "serving {PATH}");
    let keys = Arc::new(JwkSet { keys });
    let router = Router::new().route(PATH, get(serve)).with_state(keys);
    Ok(HttpServer::start(listener, address, router))
}

async fn serve(State(keys): State<Arc<JwkSet>>) -> Response {
    let cache = [(header::CACHE_CONTROL, CACHE_CONTROL)];
    (cache, axum::Json(&*keys)).into_response()
}
