//! HTTP/1 servers with bounds on connections, request heads and connection lifetimes.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::tls::ServerIdentity;
use super::waiting::{WaitingConnections, mark_answering};

/// Limit on the time that a client takes to send the head of a request.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit on the request line and headers, in bytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;
/// Delay after a failed accept. Without it, a process out of file descriptors would spin.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long [`listen`] waits for an address in use. A role that restarts within the process
/// may listen again before the runtime has dropped the previous server.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(1);
const LISTEN_RETRY_DELAY: Duration = Duration::from_millis(10);

/// Bounds on the connections of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections served at once. A further one takes the place of the one that has waited
    /// longest for its client, so that idle clients keep no client out, least of all probes.
    max_connections: usize,
    /// Lifetime of a connection, which serves a single request. Connections without one are
    /// kept alive.
    lifetime: Option<Duration>,
}

impl ConnectionLimits {
    /// Limits for probes and scrapes. A slow, silent or vanished client occupies a connection
    /// for 10 s at most.
    pub const SHORT_LIVED: Self = Self {
        max_connections: 64,
        lifetime: Some(Duration::from_secs(10)),
    };
    /// Limits for applications: many keep-alive connections.
    pub const CLIENTS: Self = Self {
        max_connections: 1024,
        lifetime: None,
    };
    /// Limits for browsers: keep-alive connections and server-sent events without an end.
    pub const LONG_LIVED: Self = Self {
        max_connections: 256,
        lifetime: None,
    };
}

/// Address of the client, an extension of each request.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr(pub SocketAddr);

/// A server that accepts connections until it is dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl HttpServer {
    /// Serves `router` on `listener`, bound to `address`, with
    /// [`ConnectionLimits::SHORT_LIVED`].
    pub(crate) fn start(listener: TcpListener, address: SocketAddr, router: Router) -> Self {
        Self::start_with((listener, address), None, router)
    }

    /// Like [`HttpServer::start`], with TLS if the server has an identity.
    pub(crate) fn start_with(
        (listener, address): (TcpListener, SocketAddr),
        identity: Option<Arc<ServerIdentity>>,
        router: Router,
    ) -> Self {
        let never = CancellationToken::new();
        let limits = ConnectionLimits::SHORT_LIVED;
        let task = tokio::spawn(serve_with(listener, identity, router, limits, never));
        Self {
            address,
            _task: AbortOnDropHandle::new(task),
        }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The address of a server cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on '{address}': {reason}; give {flag} a free address as HOST:PORT")]
pub struct ListenError {
    address: String,
    reason: io::Error,
    flag: &'static str,
}

impl ListenError {
    /// Whether another listener has the address.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.reason.kind() == ErrorKind::AddrInUse
    }
}

/// Binds `address`, the value of `flag`; returns the listener and the bound address.
///
/// # Errors
/// [`ListenError`] if the address is in use or does not belong to this machine.
pub(crate) async fn bind(
    address: &str,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let bound = bind_either_family(address).await;
    let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
    match bound {
        Ok((bound, listener)) => Ok((listener, bound)),
        Err(reason) => Err(ListenError {
            address: address.to_owned(),
            reason,
            flag,
        }),
    }
}

/// Binds `address`. `[::]` accepts IPv4 as well, and stands for all IPv4 addresses on a machine
/// without IPv6.
async fn bind_either_family(address: &str) -> io::Result<TcpListener> {
    match address.parse() {
        Ok(SocketAddr::V6(any)) if any.ip().is_unspecified() => {
            dual_stack(any).or_else(|_no_ipv6| {
                let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, any.port()));
                TcpListener::from_std(std::net::TcpListener::bind(any).and_then(non_blocking)?)
            })
        }
        _ => TcpListener::bind(address).await,
    }
}

/// Binds `any` for both address families, whatever the system's default is.
fn dual_stack(any: SocketAddrV6) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from(any).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(non_blocking(socket.into())?)
}

fn non_blocking(listener: std::net::TcpListener) -> io::Result<std::net::TcpListener> {
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Like [`bind`], but waits for an address in use, for [`LISTEN_TIMEOUT`] at most.
///
/// # Errors
/// As [`bind`].
pub(crate) async fn listen(
    address: &str,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), ListenError> {
    let retry = async {
        loop {
            match bind(address, flag).await {
                Err(error) if error.is_in_use() => {
                    tokio::time::sleep(LISTEN_RETRY_DELAY).await;
                }
                bound => return bound,
            }
        }
    };
    match tokio::time::timeout(LISTEN_TIMEOUT, retry).await {
        Ok(bound) => bound,
        // A last attempt returns the operating system's error instead of the timeout.
        Err(_) => bind(address, flag).await,
    }
}

/// Serves `router` on `listener` until `stop`, which also closes open connections.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ConnectionLimits,
    stop: CancellationToken,
) {
    serve_with(listener, None, router, limits, stop).await;
}

/// Like [`serve`], with TLS if the server has an identity.
pub(crate) async fn serve_with(
    listener: TcpListener,
    identity: Option<Arc<ServerIdentity>>,
    router: Router,
    limits: ConnectionLimits,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(limits.max_connections));
    let waiting = WaitingConnections::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        if permits.available_permits() == 0 {
            waiting.close_oldest();
        }
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            () = stop.cancelled() => return,
        };
        // The semaphore is never closed.
        let Ok(permit) = permit else {
            return;
        };
        match accepted {
            Ok((stream, peer)) => {
                // `::ffff:192.0.2.1` on a socket of both families.
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                let router = router.clone().layer(Extension(PeerAddr(peer)));
                let (stop, identity) = (stop.clone(), identity.clone());
                let place = waiting.enter();
                let router = router.layer(middleware::from_fn_with_state(
                    Arc::clone(&place),
                    mark_answering,
                ));
                tokio::spawn(async move {
                    tokio::select! {
                        () = accept(stream, identity, router, limits.lifetime) => {}
                        () = place.closed.cancelled() => {}
                        () = stop.cancelled() => {}
                    }
                    place.leave();
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// Serves one connection, behind its TLS handshake if there is an identity.
async fn accept(
    stream: TcpStream,
    identity: Option<Arc<ServerIdentity>>,
    router: Router,
    lifetime: Option<Duration>,
) {
    match identity {
        None => serve_connection(stream, router, lifetime).await,
        Some(identity) => {
            if let Some(stream) = identity.accept(stream).await {
                serve_connection(stream, router, lifetime).await;
            }
        }
    }
}

/// Serves one connection. Its errors concern the client alone, which sees them.
async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    lifetime: Option<Duration>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .keep_alive(lifetime.is_none())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match lifetime {
        Some(lifetime) => {
            let _ = tokio::time::timeout(lifetime, connection).await;
        }
        None => {
            let _ = connection.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn half_sent_forms_keep_no_client_out() {
        let router = Router::new()
            .route("/login", post(|body: String| async move { body }))
            .route("/login", get(|| async { "form" }));
        let (listener, address) = bind("127.0.0.1:0", "--listen").await.unwrap();
        let stop = CancellationToken::new();
        let limits = ConnectionLimits::LONG_LIVED;
        let serving = tokio::spawn(serve(listener, router, limits, stop.clone()));
        let mut clients = Vec::new();
        for _ in 0..300 {
            let mut client = TcpStream::connect(address).await.unwrap();
            let half = b"POST /login HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\ntoken=";
            client.write_all(half).await.unwrap();
            clients.push(client);
        }
        let mut client = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            let request = b"GET /login HTTP/1.1\r\nhost: a\r\n\r\n";
            client.write_all(request).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"form") {
                assert!(client.read_buf(&mut answer).await.unwrap() > 0);
            }
            assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
        }
        stop.cancel();
        serving.await.unwrap();
    }
}
