//! `sundown ingest`: brings the events of existing topics to the session event topic.
//!
//! One thread per topic reads records as a member of a consumer group, maps them with the
//! topic's [`Mapping`](crate::source::mapping::Mapping), and commits session events, dead
//! letters, offsets and watermarks in one transaction:
//!
//! | step | type | file |
//! |---|---|---|
//! | read the sources, and follow their changes | [`sources`] | `sources.rs` |
//! | start and stop a worker for each topic | [`Workers`](workers::Workers) | `workers.rs` |
//! | poll records, handle rebalances | [`IngestWorker`](worker::IngestWorker) | `worker.rs` |
//! | map a record to an event or a dead letter | [`IngestBatch`](batch::IngestBatch) | `batch.rs` |
//! | list end offsets, ten times a second | [`EndOffsetWatch`](crate::kafka::end_offsets::EndOffsetWatch) | `kafka/end_offsets.rs` |
//! | state up to when a partition has been forwarded | [`IngestWatermarks`](watermarks::IngestWatermarks) | `watermarks.rs` |
//! | commit | [`IngestCommitter`](committer::IngestCommitter) | `committer.rs` |
//! | withdraw what was stated about topics of deleted sources | [`Withdrawal`](withdrawal::Withdrawal) | `withdrawal.rs` |
//! | compare clocks, report | [`Reporting`](reporting::Reporting) | `reporting.rs` |
//!
//! A failed commit ends the worker, which starts again from the committed offsets.

pub mod args;
pub mod batch;
pub mod committer;
pub mod metrics;
pub mod reporting;
pub mod settings;
pub mod sources;
pub mod watermarks;
pub mod withdrawal;
pub mod worker;
pub mod workers;

use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::clock::Clock;
use crate::health::Health;
use crate::kafka::args::GlobalArgs;
use crate::kafka::topics::{TopicAdmin, require_for_ingest, wait_for_topics};
use crate::metrics::certificates;
use crate::processes::Identity;
use args::IngestArgs;
use metrics::IngestMetrics;
use reporting::Reporting;
use settings::WorkerEnvironment;
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
    let registry = crate::metrics::registry("ingest", &health)?;
    certificates::register(&registry, &global.connection)?;
    let metrics = IngestMetrics::new(&registry)?;
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
    let (sources, withdrawal) = match from_files {
        // Other processes may have other files, whose statements are not this one's to withdraw.
        Some(sources) => (sources, None),
        None => (
            sources::from_topic(&config, &topics, &health, stop.clone())?,
            Some(Withdrawal::new(global, &args.group)?),
        ),
    };
    let admin_address = args.admin.advertised(server.address());
    let identity = Identity::new("ingest", admin_address, clock.wall());
    let reporting = Reporting::new(
        identity.clone(),
        health.clone(),
        producer.clone(),
        (&topics.processes, args.max_clock_skew, clock),
    )?;
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
    });
    let ended = CancellationToken::new();
    let reports = tokio::spawn(reporting.run(ended.clone()));
    let result = workers.run(sources, withdrawal, &stop).await;
    ended.cancel();
    reports.await?;
    result
}
