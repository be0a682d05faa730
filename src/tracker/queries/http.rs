//! `GET /sessions` on the admin port, and who may ask.

use std::net::{IpAddr, SocketAddr};

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use super::{Handle, Query, QueryError};
use crate::http::token::Token;
use crate::session::UserRef;
use crate::session_lookup::{self, PATH};
use crate::wire::event::encode::user_id;

/// Who may ask: ids are personal data.
#[derive(Clone, Debug)]
pub struct Gate {
    token: Option<Token>,
    /// Only this machine reaches the port.
    loopback: bool,
}

/// Why a question is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error(
        "others than this machine reach this port, and there is no token: start the tracker with --admin-token-file (SUNDOWN_ADMIN_TOKEN_FILE), and give whoever asks the same file"
    )]
    Closed,
    #[error(
        "this takes the tracker's token: start whoever asks with the same --admin-token-file (SUNDOWN_ADMIN_TOKEN_FILE), or send it as Authorization: Bearer"
    )]
    Token,
    /// See DNS rebinding.
    #[error("this port answers for localhost and loopback addresses only")]
    ForeignHost,
    #[error("give one of session and user, as in /sessions?session=ID or /sessions?user=ID")]
    Malformed,
    #[error(transparent)]
    QueryError(#[from] QueryError),
}

impl Gate {
    /// The rules of an admin port at `address`. With a token, it takes that; without one,
    /// only this machine is answered.
    #[must_use]
    pub fn new(token: Option<Token>, address: SocketAddr) -> Self {
        let loopback = address.ip().is_loopback();
        Self { token, loopback }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.token else {
            return match self.loopback {
                false => Err(Refusal::Closed),
                true if is_this_machine(headers) => Ok(()),
                true => Err(Refusal::ForeignHost),
            };
        };
        let given = headers.get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        if given.is_some_and(|given| token.matches(given)) {
            Ok(())
        } else {
            Err(Refusal::Token)
        }
    }
}

/// What the admin port serves besides probes and metrics.
pub fn router(handle: Handle, gate: Gate) -> Router {
    Router::new()
        .route(PATH, get(sessions))
        .with_state((handle, gate))
}

async fn sessions(
    State((handle, gate)): State<(Handle, Gate)>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    match answer(&handle, &gate, &headers, &uri).await {
        Ok(answer) => Json(answer).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer(
    handle: &Handle,
    gate: &Gate,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<session_lookup::Answer, Refusal> {
    // Who may not ask is not told what is wrong with the question.
    gate.admit(headers)?;
    let axum::extract::Query(query) =
        axum::extract::Query::try_from_uri(uri).map_err(|_| Refusal::Malformed)?;
    Ok(handle.ask(parse(query)?).await?)
}

fn parse(query: session_lookup::Query) -> Result<Query, Refusal> {
    match (query.session, query.user) {
        (Some(id), None) => Ok(Query::Session(id)),
        (None, Some(id)) => {
            let json = user_id(&id, query.string).map_err(|_| Refusal::Malformed)?;
            let number = !json.get().starts_with('"');
            let user = UserRef { text: &id, number };
            Ok(Query::SessionsOf(user.to_owned()))
        }
        _ => Err(Refusal::Malformed),
    }
}

/// Whether the request was made for this machine by name: a page from elsewhere whose name
/// has been made to lead here asks under its own.
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

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: String,
        }
        let status = match self {
            Self::Closed => StatusCode::FORBIDDEN,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::QueryError(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let error = self.to_string();
        let mut response = (status, Json(Body { error })).into_response();
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
    fn without_a_token_only_this_machine_is_answered() {
        let local = gate(false, "127.0.0.1:80");
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:80", "[::1]:80"] {
            assert_eq!(local.admit(&headers(&[(header::HOST, host)])), Ok(()));
        }
        for host in ["evil.example:80", "localhost.evil.example", "10.0.0.1", ""] {
            let refused = local.admit(&headers(&[(header::HOST, host)]));
            assert_eq!(refused, Err(Refusal::ForeignHost), "{host}");
        }
        let open = gate(false, "0.0.0.0:80");
        let refused = open.admit(&headers(&[(header::HOST, "localhost")]));
        assert_eq!(refused, Err(Refusal::Closed));
    }

    #[test]
    fn with_a_token_it_takes_that_wherever_one_asks_from() {
        for address in ["127.0.0.1:80", "0.0.0.0:80"] {
            let gate = gate(true, address);
            let with = |value| gate.admit(&headers(&[(header::AUTHORIZATION, value)]));
            assert_eq!(with("Bearer 0123456789abcdef"), Ok(()));
            for wrong in ["Bearer 0123456789abcdeg", "0123456789abcdef", "Bearer "] {
                assert_eq!(with(wrong), Err(Refusal::Token), "{wrong}");
            }
            assert_eq!(gate.admit(&HeaderMap::new()), Err(Refusal::Token));
        }
    }
}
