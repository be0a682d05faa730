//! `sundown ingest`: brings the events of existing topics to the session event topic.
//!
//! One thread per topic reads records as a member of a consumer group, maps them with the
//! topic's [`Mapping`](crate::source::mapping::Mapping), and commits session events, dead
//! letters, offsets and watermarks in one transaction:
//!
//! | step | type | file |
//! |---|---|---|
//! | read the sources, and follow their changes | [`sources`] | `sources.rs` |
//! | find the topics of patterns | [`Discovery`](discovery::Discovery) | `discovery.rs` |
//! | start and stop a worker for each topic | [`Workers`](workers::Workers) | `workers.rs` |
//! | poll records, handle rebalances | [`IngestWorker`](worker::IngestWorker) | `worker.rs` |
//! | wait for a schema registry | [`WaitingPartitions`](waiting::WaitingPartitions) | `waiting.rs` |
//! | map a record to an event or a dead letter | [`IngestBatch`](batch::IngestBatch) | `batch.rs` |
//! | list end offsets, ten times a second | [`EndOffsetWatch`](crate::kafka::end_offsets::EndOffsetWatch) | `kafka/end_offsets.rs` |
//! | know how far partitions have come, and what to commit | [`WorkerProgress`](progress::WorkerProgress) | `progress.rs` |
//! | state up to when a partition has been forwarded | [`IngestWatermarks`](watermarks::IngestWatermarks) | `watermarks.rs` |
//! | commit | [`IngestCommitter`](committer::IngestCommitter) | `committer.rs` |
//! | withdraw what was stated about topics of deleted sources, and partitions that are gone | [`Withdrawal`](withdrawal::Withdrawal) | `withdrawal.rs`, `absences.rs` |
//! | compare clocks, report | [`Reporting`](reporting::Reporting) | `reporting.rs` |
//!
//! `http` writes session events that it receives (`http.rs`).
//!
//! A failed commit ends the worker, which starts again from the committed offsets.

pub mod absences;
pub mod args;
pub mod batch;
pub mod committer;
pub mod discovery;
pub mod http;
pub mod metrics;
pub mod progress;
pub mod read_partition;
pub mod reporting;
pub mod settings;
pub mod sources;
pub mod start_offsets;
pub mod statements;
pub mod waiting;
pub mod watermarks;
pub mod withdrawal;
pub mod worker;
pub mod workers;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::clock::Clock;
use crate::health::Health;
use crate::kafka::args::GlobalArgs;
use crate::kafka::topics::{TopicAdmin, require_for_ingest, wait_for_topics};
use crate::metrics::certificates;
use crate::processes::Identity;
use crate::source::topic::PublishedSources;
use args::IngestArgs;
use discovery::Discovery;
use http::metrics::HttpMetrics;
use metrics::IngestMetrics;
use reporting::Reporting;
use settings::WorkerEnvironment;
use statements::IngestStatements;
use withdrawal::Withdrawal;
use workers::Workers;

/// Runs `sundown ingest` until `stop`.
///
/// # Errors
/// If the sources of `--sources` are invalid, or the process cannot start or continue.
pub async fn run(
    global: &GlobalArgs,
    args: &IngestArgs,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let topics = global.topics.topics();
    let from_files = args.sources.as_deref();
    let from_files = from_files
        .map(|path| sources::from_files(path, &topics))
        .transpose()?;
    let clock = Clock::default();
    let health = Health::default();
    health.set_not_ready("kafka", "looking for the topics");
    health.set_not_ready("http", "not listening yet");
    let registry = crate::metrics::registry("ingest", &health)?;
    certificates::register(&registry, &global.connection)?;
    let metrics = IngestMetrics::new(&registry)?;
    let http_metrics = HttpMetrics::new(&registry)?;
    let server = admin::start(&args.admin, health.clone(), registry).await?;

    let config = global.connection.client_config()?;
    let producer = global.connection.producer_config()?;
    let admin = TopicAdmin::new(&config)?;
    let require = || require_for_ingest(&admin, &topics);
    let found = wait_for_topics(&health, &stop, require).await?;
    if found.is_none() {
        return Ok(());
    }
    let stop = stop.child_token();
    let _stop_on_return = stop.clone().drop_guard();
    let published = from_files.is_none().then(|| PublishedSources::new(global));
    let withdrawal = Withdrawal::new(global, &args.group, published.transpose()?)?;
    let sources = match from_files {
        Some(sources) => sources,
        None => sources::from_topic(&config, &topics, &health, stop.clone())?,
    };
    let admin_address = args.admin.advertised(server.address());
    let identity = Identity::new("ingest", admin_address, clock.wall());
    let reporting = Reporting::new(
        identity.clone(),
        health.clone(),
        producer.clone(),
        (&topics.processes, args.max_clock_skew, clock),
    )?;
    let statements = IngestStatements::new(global, &args.group)?;
    let shared = reporting.shared();
    let discovery = Discovery::new(admin, statements, &topics, (clock, &health, shared));
    let session_logs = &topics.session_logs;
    let events = http::start(&args.http, session_logs, producer.clone(), http_metrics).await?;
    health.set_ready("http");
    let workers = Workers::new(WorkerEnvironment {
        group_prefix: global.topics.prefixed(&args.group),
        process: identity.id,
        args: args.clone(),
        config,
        producer,
        topics,
        clock,
        health,
        metrics,
        shared: reporting.shared(),
        statements: IngestStatements::new(global, &args.group)?,
        runtime: Handle::current(),
    });
    let ended = CancellationToken::new();
    let reports = tokio::spawn(reporting.run(ended.clone()));
    let result = workers.run(sources, discovery, withdrawal, &stop).await;
    if let Some(events) = events {
        events.stop().await;
    }
    ended.cancel();
    reports.await?;
    result
}
