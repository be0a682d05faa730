//! The public keys of signing actions, on a listener that serves nothing else: relying
//! parties have to reach it, and nothing but keys is for them to see.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jsonwebtoken::jwk::{Jwk, JwkSet};

use crate::admin::{self, Server};

/// Where the keys are, as OpenID Connect providers have it.
pub const PATH: &str = "/.well-known/jwks.json";
/// How long others may keep them, in seconds: how long a new key has to be published
/// before it signs.
const MAX_AGE: &str = "public, max-age=300";

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on '{listen}': {reason}; give --jwks-listen a free address as HOST:PORT")]
pub struct ListenError {
    listen: String,
    reason: std::io::Error,
}

/// Serves `keys` until the completions server is dropped.
///
/// # Errors
/// [`ListenError`] if the address is taken or is none of this machine's.
pub async fn start(listen: &str, keys: Vec<Jwk>) -> Result<Server, ListenError> {
    let bound = admin::listen(listen).await;
    let (listener, address) = bound.map_err(|reason| ListenError {
        listen: listen.to_owned(),
        reason,
    })?;
    tracing::info!(jwks = %address, keys = keys.len(), "serving {PATH}");
    let keys = Arc::new(JwkSet { keys });
    let router = Router::new().route(PATH, get(serve)).with_state(keys);
    Ok(Server::start(listener, address, router))
}

async fn serve(State(keys): State<Arc<JwkSet>>) -> Response {
    let cache = [(header::CACHE_CONTROL, MAX_AGE)];
    (cache, axum::Json(&*keys)).into_response()
}
