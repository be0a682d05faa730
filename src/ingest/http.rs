//! Session events over HTTP: `POST /v1/events`, and `POST /v1/ssf/events` for Shared Signals.
//!
//! | step | file |
//! |---|---|
//! | flags | `args.rs` |
//! | who may write | `tokens.rs` |
//! | pages of which origins may write | `cors.rs` |
//! | how much | `limits.rs` |
//! | from a body to session events | `body.rs` |
//! | answer once they are acknowledged | `events.rs`, `writer.rs` |
//! | Shared Signals | `ssf.rs`, `ssf/` |
//! | answers to refused requests | `problem.rs` |
//! | the API's description | `openapi.rs` |

pub mod args;
pub mod body;
pub mod cors;
pub mod events;
pub mod limits;
pub mod metrics;
pub mod openapi;
pub mod problem;
pub mod ssf;
pub mod tokens;
pub mod writer;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use rdkafka::ClientConfig;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::http::server::{ConnectionLimits, listen, serve_with};
use crate::http::tls::ServerIdentity;
use crate::kafka::recreating_producer::RecreatingProducer;
use args::HttpArgs;
use events::EventApi;
use limits::Limits;
use metrics::HttpMetrics;
use openapi::Served;
use ssf::Receiver;
use tokens::SenderTokens;
use writer::HttpWriter;

/// How long requests that are being answered may take once the process stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Bounds the delivery of an event, retries included: longer than an election of a leader.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// A running server.
pub struct EventServer {
    limits: Arc<Limits>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Serves the API, if the flags have an address for it.
///
/// # Errors
/// If the address, the tokens or the Kafka configuration cannot be used.
pub async fn start(
    args: &HttpArgs,
    topic: &str,
    producer: ClientConfig,
    metrics: HttpMetrics,
) -> anyhow::Result<Option<EventServer>> {
    let Some(address) = &args.http_listen else {
        return Ok(None);
    };
    ensure!(
        args.http_tokens.is_some() || args.ssf_transmitters.is_some(),
        "no client may use --http-listen: pass --http-tokens or --ssf-transmitters"
    );
    let limits = Arc::new(Limits::new(args, Clock::default()));
    let writer = Arc::new(HttpWriter {
        producer: RecreatingProducer::new(event_producer(producer))
            .context("check -X and the --tls and --sasl flags")?,
        topic: topic.to_owned(),
    });
    let description = openapi::service(Served {
        events: args.http_tokens.is_some(),
        shared_signals: args.ssf_transmitters.is_some(),
    });
    let mut router = Router::new().route("/v1/openapi.json", description);
    if args.http_tokens.is_some() {
        let api = EventApi {
            tokens: SenderTokens::new(args)?,
            limits: Arc::clone(&limits),
            origins: args.http_allowed_origins.clone(),
            writer: Arc::clone(&writer),
            metrics,
        };
        let post = post(events::post).options(events::preflight);
        router = router.merge(
            Router::new()
                .route("/v1/events", post)
                .with_state(Arc::new(api)),
        );
    }
    if let Some(path) = &args.ssf_transmitters {
        let receiver = Receiver::new(path, Arc::clone(&limits), writer)?;
        let post = post(ssf::post).with_state(Arc::new(receiver));
        router = router.route("/v1/ssf/events", post);
    }
    let max_body = usize::try_from(args.http_max_body).unwrap_or(usize::MAX);
    let router = router.layer(DefaultBodyLimit::max(max_body));
    let (certificate, key) = (args.http_tls_cert.as_deref(), args.http_tls_key.as_deref());
    let identity = ServerIdentity::of_flags(certificate, key);
    let identity = identity.context("check --http-tls-cert and --http-tls-key")?;
    let (listener, address) = listen(address, "--http-listen").await?;
    tracing::info!(http = %address, tls = identity.is_some(), "serving session events over HTTP");
    let stop = CancellationToken::new();
    let serving = serve_with(
        listener,
        identity,
        router,
        ConnectionLimits::CLIENTS,
        stop.clone(),
    );
    let task = tokio::spawn(serving);
    Ok(Some(EventServer { limits, stop, task }))
}

impl EventServer {
    /// Refuses further requests, waits for those that are being answered, and stops.
    pub async fn stop(self) {
        let drained = tokio::time::timeout(DRAIN_TIMEOUT, self.limits.drain()).await;
        if drained.is_err() {
            tracing::warn!("stopping before all requests were answered");
        }
        self.stop.cancel();
        let _panics_are_logged = self.task.await;
    }
}

fn event_producer(mut config: ClientConfig) -> ClientConfig {
    for (key, value) in [
        ("enable.idempotence", "true".to_owned()),
        ("acks", "all".to_owned()),
        (
            "message.timeout.ms",
            DELIVERY_TIMEOUT.as_millis().to_string(),
        ),
    ] {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    }
    config
}
