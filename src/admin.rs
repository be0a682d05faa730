//! The admin port of every role: `/livez`, `/readyz` and `/metrics`.
//!
//! A role creates a [`Health`] and a registry, sets the conditions that are not met yet, starts
//! the server, and updates the health from any thread:
//!
//! ```no_run
//! # async fn role(args: sundown::admin::AdminArgs) -> anyhow::Result<()> {
//! use std::time::Duration;
//! use sundown::admin::start;
//! use sundown::health::Health;
//!
//! let health = Health::default();
//! health.set_not_ready("group", "waiting for partitions");
//! let registry = sundown::metrics::registry("tracker", &health)?;
//! let _server = start(&args, health.clone(), registry).await?;
//!
//! std::thread::spawn(move || {
//!     let heartbeat = health.heartbeat("consumer", Duration::from_secs(30));
//!     loop {
//!         heartbeat.beat();
//!         // … poll, and once the group has assigned partitions:
//!         health.set_ready("group");
//!     }
//! });
//! # Ok(())
//! # }
//! ```

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clap::Args;
use prometheus::{Registry, TextEncoder};
use serde::Serialize;

use crate::health::{Health, Problems};
use crate::http::server::{HttpServer, ListenError, listen};

/// Address of the admin port.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Admin")]
pub struct AdminArgs {
    /// Listen address for /livez, /readyz and /metrics. Port 0 selects a free port, which
    /// is logged. In a container, use [::] so that probes and scrapes can connect.
    #[arg(
        long,
        env = "SUNDOWN_ADMIN_LISTEN",
        default_value = "127.0.0.1:0",
        value_name = "HOST:PORT"
    )]
    pub admin_listen: String,

    /// Advertised host of the admin port, such as the pod's address. Defaults to the listen
    /// address, or to the host name if that is unspecified.
    #[arg(
        long,
        env = "SUNDOWN_ADMIN_HOST",
        value_name = "HOST",
        hide_short_help = true
    )]
    pub admin_host: Option<String>,
}

impl AdminArgs {
    /// How others reach the admin port that listens on `address`.
    #[must_use]
    pub fn advertised(&self, address: SocketAddr) -> String {
        match &self.admin_host {
            // An IPv6 address in the form in which Kubernetes passes it to a pod.
            Some(host) if host.contains(':') && !host.starts_with('[') => {
                format!("[{host}]:{}", address.port())
            }
            Some(host) => format!("{host}:{}", address.port()),
            None if address.ip().is_unspecified() => {
                format!("{}:{}", crate::host::host(), address.port())
            }
            None => address.to_string(),
        }
    }
}

/// Serves the admin port until the returned server is dropped. Drop it last, so that probes
/// still answer while the process stops.
///
/// # Errors
/// [`ListenError`] if the address is in use or does not belong to this machine.
pub async fn start(
    args: &AdminArgs,
    health: Health,
    registry: Registry,
) -> Result<HttpServer, ListenError> {
    start_with(args, health, registry, |_| Router::new()).await
}

/// Like [`start`], and also serves the routes that `more_routes` returns for the bound address.
///
/// # Errors
/// As [`start`].
pub async fn start_with(
    args: &AdminArgs,
    health: Health,
    registry: Registry,
    more_routes: impl FnOnce(SocketAddr) -> Router,
) -> Result<HttpServer, ListenError> {
    let (listener, address) = listen(&args.admin_listen, "--admin-listen").await?;
    tracing::info!(admin = %address, "serving /livez, /readyz and /metrics");
    let router = router(health, registry).merge(more_routes(address));
    Ok(HttpServer::start(listener, address, router))
}

fn router(health: Health, registry: Registry) -> Router {
    let live = Router::new().route("/livez", get(livez));
    let ready = Router::new().route("/readyz", get(readyz));
    let probes = live.merge(ready).with_state(health);
    let metrics = Router::new().route("/metrics", get(metrics));
    probes.merge(metrics.with_state(registry))
}

async fn livez(State(health): State<Health>) -> Response {
    probe_response(health.stalled(), health.notes())
}

async fn readyz(State(health): State<Health>) -> Response {
    probe_response(health.not_ready(), health.notes())
}

/// The response to a probe: `{"ok": …, "reasons": {NAME: REASON}}`, with `notes` of the same
/// form if there are any.
fn probe_response(reasons: Problems, notes: Problems) -> Response {
    #[derive(Serialize)]
    struct ProbeResponse {
        ok: bool,
        reasons: Problems,
        #[serde(skip_serializing_if = "Problems::is_empty")]
        notes: Problems,
    }
    let ok = reasons.is_empty();
    let status = if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, axum::Json(ProbeResponse { ok, reasons, notes })).into_response()
}

async fn metrics(State(registry): State<Registry>) -> Response {
    let content_type = [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)];
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => (content_type, text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot encode the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn started(health: &Health) -> HttpServer {
        let args = AdminArgs {
            admin_listen: "127.0.0.1:0".to_owned(),
            admin_host: None,
        };
        let registry = crate::metrics::registry("handler", health).unwrap();
        start(&args, health.clone(), registry).await.unwrap()
    }

    #[tokio::test]
    async fn probes_return_the_health_and_its_reasons() {
        let health = Health::default();
        let server = started(&health).await;
        let ready = get(server.address(), "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
        health.set_not_ready("group", "waiting for partitions");
        let ready = get(server.address(), "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
        let body = r#"{"ok":false,"reasons":{"group":"waiting for partitions"}}"#;
        assert!(ready.ends_with(body), "{ready}");

        let live = get(server.address(), "/livez").await;
        assert!(live.starts_with("HTTP/1.1 200"), "{live}");
        let _stuck = health.heartbeat("consumer", Duration::ZERO);
        while health.stalled().is_empty() {
            tokio::task::yield_now().await;
        }
        let live = get(server.address(), "/livez").await;
        assert!(live.starts_with("HTTP/1.1 503"), "{live}");
        assert!(live.contains(r#""consumer":"no heartbeat for"#), "{live}");
    }

    #[tokio::test]
    async fn a_pause_is_noted_and_fails_no_probe() {
        let health = Health::default();
        let server = started(&health).await;
        health.note_paused(&[3, 5]);
        for path in ["/readyz", "/livez"] {
            let answer = get(server.address(), path).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains(r#""paused":"partitions 3, 5"#), "{answer}");
        }
        health.note_paused(&[]);
        let answer = get(server.address(), "/readyz").await;
        assert!(!answer.contains("notes"), "{answer}");
    }

    /// A probe that fails for them has the kubelet restart the process for ever.
    #[tokio::test]
    async fn idle_and_half_sent_requests_keep_no_probe_out() {
        let server = started(&Health::default()).await;
        let mut clients = Vec::new();
        for number in 0..400 {
            let mut client = TcpStream::connect(server.address()).await.unwrap();
            if number % 2 == 0 {
                client
                    .write_all(b"GET /livez HTTP/1.1\r\nhost:")
                    .await
                    .unwrap();
            }
            clients.push(client);
        }
        for path in ["/livez", "/readyz", "/metrics"] {
            let answer = get(server.address(), path).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        // The latest of them still have their place.
        let mut last = clients.pop().unwrap();
        last.write_all(b"GET /livez HTTP/1.1\r\nhost: admin\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        last.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[tokio::test]
    async fn metrics_contain_the_build() {
        let server = started(&Health::default()).await;
        let answer = get(server.address(), "/metrics").await;
        assert!(answer.contains("content-type: text/plain"), "{answer}");
        assert!(
            answer.contains(r#"sundown_build_info{role="handler""#),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn a_role_that_restarts_in_the_process_gets_its_address_back() {
        let server = started(&Health::default()).await;
        let args = AdminArgs {
            admin_listen: server.address().to_string(),
            admin_host: None,
        };
        // On a single-threaded runtime, the dropped server keeps its address until a task yields.
        drop(server);
        let health = Health::default();
        let registry = crate::metrics::registry("handler", &health).unwrap();
        let server = start(&args, health, registry).await.unwrap();
        let ready = get(server.address(), "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    }

    #[tokio::test]
    async fn the_unspecified_ipv6_address_accepts_ipv4_too() {
        let args = AdminArgs {
            admin_listen: "[::]:0".to_owned(),
            admin_host: None,
        };
        let registry = crate::metrics::registry("handler", &Health::default()).unwrap();
        let server = start(&args, Health::default(), registry).await.unwrap();
        let port = server.address().port();
        let mut addresses = vec![SocketAddr::from(([127, 0, 0, 1], port))];
        // A machine without IPv6 has the first one only.
        addresses.extend(
            server
                .address()
                .is_ipv6()
                .then(|| SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port))),
        );
        for address in addresses {
            let live = get(address, "/livez").await;
            assert!(live.starts_with("HTTP/1.1 200"), "{live}");
        }
    }

    #[tokio::test]
    async fn an_address_in_use_is_reported_with_its_flag() {
        let server = started(&Health::default()).await;
        let args = AdminArgs {
            admin_listen: server.address().to_string(),
            admin_host: None,
        };
        let refused = start(&args, Health::default(), Registry::new()).await;
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(&args.admin_listen), "{message}");
        assert!(message.contains("--admin-listen"), "{message}");
    }

    #[tokio::test]
    async fn a_dropped_server_no_longer_listens() {
        let server = started(&Health::default()).await;
        let address = server.address();
        drop(server);
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
