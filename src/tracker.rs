//! The tracker: ends sessions on time.
//!
//! # From an event to its terminal event
//!
//! | step | type | file |
//! |---|---|---|
//! | poll a burst of records | `TrackerWorker`, [`GroupConsumer`](crate::kafka::group::GroupConsumer) | `worker.rs`, `kafka/group/consumer.rs` |
//! | drop records of partitions that are paused or being restored | [`Engine`](engine::Engine) | `engine.rs` |
//! | decode, reject or apply a record | [`Partition`](partition::Partition) | `partition.rs` |
//! | start, extend or end the session | [`SessionTable`](crate::session::SessionTable) | the session core |
//! | list end offsets, ten times a second | [`EndOffsetWatch`](crate::kafka::end_offsets::EndOffsetWatch) | `kafka/end_offsets.rs` |
//! | take the end offsets, advance past control records | [`PartitionManager`](assignment::PartitionManager) | `assignment.rs` |
//! | choose the lower of the two clocks, or hold endings | [`Clocks`](crate::clock::clocks::Clocks) | `clock/clocks.rs` |
//! | share the next transaction among partitions | `RoundRobin`, [`TransactionLimits`](engine::TransactionLimits) | `engine/fairness.rs` |
//! | advance the watermark, which ends sessions | [`Partition`](partition::Partition) | `partition.rs` |
//! | take a batch once a commit is due | [`PartitionManager`](assignment::PartitionManager) | `assignment/commit.rs` |
//! | commit beside the loop | [`CommitThread`](kafka::commit_thread::CommitThread) | `tracker/kafka/commit_thread.rs` |
//! | run the stages of the transaction | [`Committer`](kafka::committer::Committer) | `tracker/kafka/committer.rs` |
//! | encode and count the outputs | [`OutputCounts`](outbox::OutputCounts) | `outbox.rs` |
//! | send them and wait for acknowledgements | `BatchProducer` | `tracker/kafka/delivery_queue.rs` |
//!
//! # From a policy edit to its sessions
//!
//! | step | type | file |
//! |---|---|---|
//! | read the record and apply it, on one thread | [`TopicFeed`](crate::kafka::topic_feed::TopicFeed), [`PolicyStore`](crate::policy::store::PolicyStore) | `policy/topic.rs` |
//! | build the policy set and send it to the loop | `RoutedPolicySource` | `policies.rs` |
//! | take it between two bursts | [`PartitionManager`](assignment::PartitionManager) | `assignment.rs` |
//! | activate it on every partition | [`Engine`](engine::Engine) | `engine.rs` |
//!
//! # Everything else
//!
//! | part | file |
//! |---|---|
//! | rebalances, and restores from assignment to the first record | `assignment/rebalance.rs`, `assignment/restore.rs` |
//! | the restore of a partition's state | `restore.rs`, `offset_metadata.rs`, `state_hold.rs`, `tracker/kafka/restore_log.rs` |
//! | the seam between this code and Kafka, which the simulation replaces | `assignment/io.rs`, `tracker/kafka/io.rs` |
//! | queries about live sessions | `queries.rs` |

pub mod args;
pub mod assignment;
pub mod engine;
pub mod forwarding;
pub mod kafka;
pub mod layout;
pub mod metrics;
pub mod offset_metadata;
pub mod outbox;
pub mod partition;
mod policies;
pub mod queries;
pub mod restore;
pub mod routing;
pub mod state_hold;
pub mod worker;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rdkafka::ClientConfig;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::admin;
use crate::clock::Clock;
use crate::health::Health;
use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::kafka::end_offsets::EndOffsetWatch;
use crate::kafka::group::{GroupConsumer, Member, Membership, member_config};
use crate::kafka::reader_config::with_group_id;
use crate::kafka::topics::{
    ClockSource, SourceTopic, TimestampType, TopicAdmin, require_for_tracker, wait_for_topics,
};
use crate::kafka::transaction::commit_error::CommitError;
use crate::kafka::upstream::{UpstreamReader, UpstreamSettings};
use crate::metrics::certificates;
use crate::processes::{Identity, Reporter};
use crate::session::TableConfig;
use crate::tracker::kafka::commit_thread::CommitThread;
use crate::tracker::kafka::committer::Committer;
use crate::tracker::kafka::restore_pool::RestorePool;
use crate::tracker::metrics::TrackerMetrics;
use crate::wire::routing::Routing;
use args::TrackerArgs;
use engine::Engine;
use kafka::io::{IoSettings, KafkaIo, Parts};
use layout::{LayoutAgreement, read_layout};
use policies::{PolicyReceivers, RoutedPolicySource};
use queries::Executor;
use queries::http::Gate;
use worker::TrackerWorker;
use worker::memory::MemoryWatch;

/// How long to wait before the next attempt to take over the transactional id.
const COMMITTER_RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Runs a tracker until `stop`.
///
/// # Errors
/// If the tracker cannot start or cannot continue.
pub async fn run(
    global: &GlobalArgs,
    args: &TrackerArgs,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let clock = Clock::default();
    let health = not_ready();
    let registry = crate::metrics::registry("tracker", &health)?;
    certificates::register(&registry, &global.connection)?;
    let metrics = TrackerMetrics::new(&registry)?;
    let token = args.admin_token.read()?;
    let (handle, executor) = queries::channel();
    let server = admin::start_with(&args.admin, health.clone(), registry, |address| {
        queries::http::router(handle, Gate::new(token, address))
    })
    .await?;

    let config = global.connection.client_config()?;
    let producer = global.connection.producer_config()?;
    let topics = global.topics.topics();
    // Opened first, so that an invalid file is reported before the tracker waits for brokers.
    let policies = RoutedPolicySource::open(args)?;
    let clock_source = args.clock_source();
    let Some(source) = source_topic(&config, &topics, clock_source, &health, &stop).await? else {
        return Ok(());
    };
    let group = global.topics.prefixed(&args.group);
    let reader = with_group_id(&config, &group);
    let receivers = policies.start(&reader, &topics, (&health, &metrics), &stop)?;
    let admin_address = args.admin.advertised(server.address());
    let identity = Identity::new("tracker", admin_address, clock.wall());
    let role = Role {
        args: args.clone(),
        config,
        producer,
        topics,
        group,
        identity,
        clock,
        health,
        metrics,
        stop,
    };
    let work = move || role.work(source.partitions, receivers, executor);
    tokio::task::spawn_blocking(work).await?
}

/// What the threads of a tracker have in common.
struct Role {
    args: TrackerArgs,
    config: ClientConfig,
    producer: ClientConfig,
    topics: Topics,
    group: String,
    identity: Identity,
    clock: Clock,
    health: Health,
    metrics: TrackerMetrics,
    stop: CancellationToken,
}

impl Role {
    /// Runs the loop of the tracker on the current thread until it is stopped.
    fn work(
        self,
        partitions: i32,
        receivers: PolicyReceivers,
        executor: Executor,
    ) -> anyhow::Result<()> {
        let (args, topics, clock, stop) = (&self.args, &self.topics, self.clock, &self.stop);
        let (health, metrics) = (&self.health, &self.metrics);
        let config = group_config(&self.config, args, &self.group);
        let log = &topics.session_logs;
        let topic = args.routing(partitions);
        let upstream = upstream_settings(topics, topic, &self.identity);
        let mut upstream = UpstreamReader::new(&config, upstream, clock)?;
        let agreement = LayoutAgreement {
            config: &config,
            producer: &self.producer,
            watermarks: &topics.watermarks,
            log,
        };
        let routing = read_layout(&agreement, topic, &mut upstream, (health, stop))?;
        let Some(routing) = routing else {
            return Ok(());
        };
        upstream.set_routing(routing);
        let member = Member::new(config.clone(), log, clock, health)?;
        let consumer = Arc::clone(member.consumer());
        let Some(committer) = create_committer(|| self.committer(&consumer), health, stop)? else {
            return Ok(());
        };
        let (client, log) = (config.clone(), log.clone());
        let ends = EndOffsetWatch::start(client, log, upstream, clock, health, stop.clone())?;
        let parts = Parts {
            commits: CommitThread::start(committer, clock, metrics.clone(), health)?,
            restores: RestorePool::start(&config, topics, clock, (health, metrics), stop)?,
            end_offsets: ends,
            reporter: Reporter::new(self.producer.clone(), &topics.processes, clock)?,
            policies: receivers.policies,
            pauses: receivers.pauses,
            consumer,
        };
        member.consumer().subscribe()?;
        let engine = engine(args, routing);
        let settings = IoSettings {
            mode: args.routing,
            table: table_config(args),
            identity: self.identity,
            topics: self.topics,
        };
        let io = KafkaIo::new(parts, settings, clock, self.health, self.metrics);
        let memory = self.args.memory_limit();
        io.metrics.set_memory_limit(memory);
        let watched = (executor, memory.map(MemoryWatch::new));
        TrackerWorker::new(engine, member, io, watched).run(&self.stop)
    }

    fn committer(&self, consumer: &Arc<GroupConsumer>) -> Result<Committer, CommitError> {
        Committer::new(
            self.producer.clone(),
            self.args.delivery,
            &format!("{}-{}", self.group, self.identity.id),
            self.topics.clone(),
            &self.identity.id,
            Arc::clone(consumer),
        )
    }
}

/// Waits for the topics; `None` if stopped before.
async fn source_topic(
    config: &ClientConfig,
    topics: &Topics,
    clock_source: ClockSource,
    health: &Health,
    stop: &CancellationToken,
) -> anyhow::Result<Option<SourceTopic>> {
    let admin = TopicAdmin::new(config)?;
    let require = || require_for_tracker(&admin, topics, clock_source);
    let source = wait_for_topics(health, stop, require).await?;
    if let Some(source) = &source {
        log_timestamp_type(source.timestamps, &topics.session_logs);
    }
    Ok(source)
}

fn upstream_settings(topics: &Topics, routing: Routing, identity: &Identity) -> UpstreamSettings {
    UpstreamSettings {
        topic: topics.watermarks.clone(),
        session_logs: topics.session_logs.clone(),
        routing,
        own_key: identity.id.as_bytes().to_vec(),
    }
}

fn log_timestamp_type(timestamps: TimestampType, topic: &str) {
    match timestamps {
        TimestampType::LogAppendTime => tracing::info!(
            topic,
            "LogAppendTime: sessions end even while the tracker catches up"
        ),
        TimestampType::CreateTime => tracing::info!(
            topic,
            "CreateTime: while the tracker catches up, only sessions whose end a later event proves end"
        ),
    }
}

/// Returns the health of a tracker that starts, with its conditions.
fn not_ready() -> Health {
    let health = Health::default();
    health.set_not_ready("kafka", "looking for the topics");
    health.set_not_ready(
        "group",
        "waiting for the consumer group to assign partitions",
    );
    health.set_not_ready("policies", "reading the policies");
    health.set_not_ready("pauses", "reading the paused partitions");
    health.set_not_ready(
        "clock",
        "waiting for the brokers to acknowledge the first process report",
    );
    health
}

/// Creates a committer, retrying until the brokers hand over the transactional id; `None` if
/// stopped before.
fn create_committer(
    create: impl Fn() -> Result<Committer, CommitError>,
    health: &Health,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Committer>> {
    loop {
        match create() {
            Ok(committer) => {
                health.set_ready("writing");
                return Ok(Some(committer));
            }
            Err(error) if error.is_configuration() => {
                return Err(error).context("cannot create the producer");
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take over the transactional id; retrying");
                health.set_not_ready("writing", error.to_string());
            }
        }
        let wait = async { tokio::time::timeout(COMMITTER_RETRY_INTERVAL, stop.cancelled()).await };
        if Handle::current().block_on(wait).is_ok() {
            return Ok(None);
        }
    }
}

fn group_config(config: &ClientConfig, args: &TrackerArgs, group: &str) -> ClientConfig {
    let timeout = u64::try_from(args.session_timeout.as_millis()).unwrap_or_default();
    let member = Membership {
        group,
        protocol: args.group_protocol,
        session_timeout: Duration::from_millis(timeout),
        prefetch_kib: 64 * 1024,
        // A tracker that continued at another offset would skip events.
        offset_reset: "error",
    };
    member_config(config, &member)
}

fn engine(args: &TrackerArgs, routing: Routing) -> Engine {
    let (interval, max_skew) = (args.commit_interval(), args.max_clock_skew);
    Engine::new(interval, max_skew, args.routing, routing).with_decode_limits(args.decode_limits())
}

fn table_config(args: &TrackerArgs) -> TableConfig {
    TableConfig {
        allowed_lateness: args.allowed_lateness,
        max_future_skew: args.max_future_skew,
        end_grace: args.end_grace,
        remember_endings: args.remember_endings,
        max_remembered: args.max_remembered_endings,
        slack: args.slack,
        max_sessions: args.max_sessions,
        hash_key: Uuid::new_v4().as_u64_pair(),
        ..TableConfig::default()
    }
}
