//! A small HTTP server whose every resource has a bound.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// Connections served at once; further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 64;
/// A connection's whole life. There is one request to a connection, so that a client that
/// is slow, silent or gone holds its place no longer than this.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest request line and headers, in bytes.
const MAX_REQUEST_BYTES: usize = 16 * 1024;
/// After a failed accept (out of file descriptors, say): trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long an address may be taken. The runtime ends a server that is dropped when it comes to it:
/// a role that starts over in the process, with new credentials, may be there before.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);
/// How long to wait before trying again to listen.
const LISTEN_PAUSE: Duration = Duration::from_millis(10);

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    pub(crate) fn start(listener: TcpListener, address: SocketAddr, router: Router) -> Self {
        let task = tokio::spawn(accept(listener, router));
        Self {
            address,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Listens; where exactly comes with it.
///
/// # Errors
/// If the address is taken and stays so, or is none of this machine's.
pub(crate) async fn listen(address: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let free = async {
        loop {
            match TcpListener::bind(address).await {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    tokio::time::sleep(LISTEN_PAUSE).await;
                }
                bound => return bound,
            }
        }
    };
    let bound = tokio::time::timeout(TAKEN_WITHIN, free).await;
    let listener = match bound {
        Ok(bound) => bound?,
        // Says so in the system's words.
        Err(_) => TcpListener::bind(address).await?,
    };
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn accept(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    let served = tokio::time::timeout(CONNECTION_TIMEOUT, serve(stream, router));
                    // However it ended, it is over; the client knows.
                    let _ = served.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router) -> hyper::Result<()> {
    http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_REQUEST_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await
}
