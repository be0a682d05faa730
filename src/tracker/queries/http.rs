//! `GET /sessions` and `POST /sessions/endings` on the admin port, and their access control.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;

use super::{Handle, Query, QueryError};
use crate::http::token::{Token, bearer};
use crate::policy::record::{PolicyRecord, decode};
use crate::session::{Attributes, CutOffScope, SessionId, UserId, UserRef};
use crate::session_lookup::{ENDINGS_PATH, LookupQuery, LookupResponse, PATH, PolicyChanges};
use crate::wire::event::encode::user_id;

/// The access control of `/sessions`: ids are personal data.
#[derive(Clone, Debug)]
pub struct Gate {
    token: Option<Token>,
    /// Whether the port is reachable from this machine only.
    loopback: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum RequestError {
    #[error(
        "this port is reachable from other machines but no token is set; start the tracker and its clients with the same --admin-token-file (SUNDOWN_ADMIN_TOKEN_FILE)"
    )]
    Closed,
    #[error(
        "the request lacks the tracker's token; start the client with the same --admin-token-file (SUNDOWN_ADMIN_TOKEN_FILE), or send the token as Authorization: Bearer"
    )]
    Token,
    /// Prevents DNS rebinding.
    #[error("without a token, this port answers only requests to localhost or a loopback address")]
    ForeignHost,
    #[error(
        "the query string needs session or user, or count=true with user or attributes (a JSON object of strings); request /sessions?session=ID or /sessions?user=ID"
    )]
    Malformed,
    #[error("a policy is not one that this tracker's release accepts")]
    Policy,
    #[error(transparent)]
    QueryError(#[from] QueryError),
}

impl Gate {
    /// Creates the access control of an admin port at `address`: with a token, requests need it;
    /// without one, they have to come from this machine.
    #[must_use]
    pub fn new(token: Option<Token>, address: SocketAddr) -> Self {
        let loopback = address.ip().is_loopback();
        Self { token, loopback }
    }

    /// Checks a request for counts alone: they are no personal data, so that they need a token only if
    /// there is one.
    fn check_count(&self, headers: &HeaderMap) -> Result<(), RequestError> {
        match (&self.token, self.loopback) {
            (None, false) => Ok(()),
            _ => self.check(headers),
        }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), RequestError> {
        let Some(token) = &self.token else {
            return match self.loopback {
                false => Err(RequestError::Closed),
                true if is_this_machine(headers) => Ok(()),
                true => Err(RequestError::ForeignHost),
            };
        };
        if bearer(headers).is_some_and(|given| token.matches(given)) {
            Ok(())
        } else {
            Err(RequestError::Token)
        }
    }
}

/// Returns the routes that a tracker's admin port serves besides probes and metrics.
pub fn router(handle: Handle, gate: Gate) -> Router {
    Router::new()
        .route(PATH, get(sessions))
        .route(ENDINGS_PATH, post(endings))
        .with_state((handle, gate))
}

async fn sessions(
    State((handle, gate)): State<(Handle, Gate)>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    match look_up(&handle, &gate, &headers, &uri).await {
        Ok(found) => Json(found).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn endings(
    State((handle, gate)): State<(Handle, Gate)>,
    headers: HeaderMap,
    changes: Result<Json<PolicyChanges>, JsonRejection>,
) -> Response {
    match count_endings(&handle, &gate, &headers, changes).await {
        Ok(counted) => Json(counted).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn count_endings(
    handle: &Handle,
    gate: &Gate,
    headers: &HeaderMap,
    changes: Result<Json<PolicyChanges>, JsonRejection>,
) -> Result<LookupResponse, RequestError> {
    gate.check_count(headers)?;
    let Ok(Json(changes)) = changes else {
        return Err(RequestError::Policy);
    };
    let changes = changes.into_iter().map(|(name, value)| {
        let value = value.as_ref().map(String::as_bytes);
        match decode(Some(name.as_bytes()), value) {
            Ok(PolicyRecord::Active { policy, .. }) => Ok((name, Some(policy))),
            Ok(PolicyRecord::Deleted(_)) => Ok((name, None)),
            Err(_) => Err(RequestError::Policy),
        }
    });
    let changes: Result<Vec<_>, _> = changes.collect();
    Ok(handle.query(Query::Endings(changes?)).await?)
}

async fn look_up(
    handle: &Handle,
    gate: &Gate,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<LookupResponse, RequestError> {
    // Checked first: an unauthorized client does not learn whether its query is valid.
    gate.check(headers)?;
    let axum::extract::Query(query) =
        axum::extract::Query::try_from_uri(uri).map_err(|_| RequestError::Malformed)?;
    Ok(handle.query(parse(query)?).await?)
}

fn parse(query: LookupQuery) -> Result<Query, RequestError> {
    let user = query.user.map(|id| user(&id, query.string)).transpose()?;
    let attributes = query.attributes.as_deref().map(attributes).transpose()?;
    match (query.session, user, attributes, query.count) {
        (Some(id), None, None, false) => Ok(Query::Session(id)),
        (None, Some(user), None, false) => Ok(Query::SessionsOf(user)),
        (None, Some(user), None, true) => Ok(Query::Count {
            scope: CutOffScope::User(user),
            except: query.except.map(|id| SessionId::new(&id)),
        }),
        (None, None, Some(attributes), true) => Ok(Query::Count {
            scope: CutOffScope::Matching(attributes),
            except: None,
        }),
        _ => Err(RequestError::Malformed),
    }
}

fn user(id: &str, string: bool) -> Result<UserId, RequestError> {
    let json = user_id(id, string).map_err(|_| RequestError::Malformed)?;
    let number = !json.get().starts_with('"');
    Ok(UserRef { text: id, number }.to_owned())
}

fn attributes(json: &str) -> Result<Attributes, RequestError> {
    let map: BTreeMap<String, String> =
        serde_json::from_str(json).map_err(|_| RequestError::Malformed)?;
    Attributes::new(map).map_err(|_| RequestError::Malformed)
}

/// Returns whether the Host header names this machine. A web page whose DNS name was rebound to
/// this machine sends its own name.
fn is_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct ErrorBody {
            error: String,
        }
        let status = match self {
            Self::Closed => StatusCode::FORBIDDEN,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Malformed | Self::Policy => StatusCode::BAD_REQUEST,
            Self::QueryError(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let error = self.to_string();
        let mut response = (status, Json(ErrorBody { error })).into_response();
        if self == Self::Token {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().cloned();
        pairs
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .collect()
    }

    fn gate(token: bool, address: &str) -> Gate {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789abcdef").unwrap();
        let token = token.then(|| Token::read(file.path(), "--admin-token-file").unwrap());
        Gate::new(token, address.parse().unwrap())
    }

    #[test]
    fn without_a_token_only_requests_from_this_machine_are_answered() {
        let local = gate(false, "127.0.0.1:80");
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:80", "[::1]:80"] {
            assert_eq!(local.check(&headers(&[(header::HOST, host)])), Ok(()));
        }
        for host in ["evil.example:80", "localhost.evil.example", "10.0.0.1", ""] {
            let refused = local.check(&headers(&[(header::HOST, host)]));
            assert_eq!(refused, Err(RequestError::ForeignHost), "{host}");
        }
        let open = gate(false, "0.0.0.0:80");
        let refused = open.check(&headers(&[(header::HOST, "localhost")]));
        assert_eq!(refused, Err(RequestError::Closed));
        // Counts are as open as metrics.
        assert_eq!(open.check_count(&HeaderMap::new()), Ok(()));
        let foreign = local.check_count(&headers(&[(header::HOST, "evil.example")]));
        assert_eq!(foreign, Err(RequestError::ForeignHost));
    }

    #[test]
    fn a_token_is_required_from_every_machine() {
        for address in ["127.0.0.1:80", "0.0.0.0:80"] {
            let gate = gate(true, address);
            let with = |value| gate.check(&headers(&[(header::AUTHORIZATION, value)]));
            assert_eq!(with("Bearer 0123456789abcdef"), Ok(()));
            for wrong in ["Bearer 0123456789abcdeg", "0123456789abcdef", "Bearer "] {
                assert_eq!(with(wrong), Err(RequestError::Token), "{wrong}");
            }
            assert_eq!(gate.check(&HeaderMap::new()), Err(RequestError::Token));
        }
    }
}
