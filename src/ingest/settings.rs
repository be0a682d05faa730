//! What workers need.

use std::sync::Arc;

use rdkafka::ClientConfig;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::args::IngestArgs;
use super::metrics::IngestMetrics;
use super::reporting::SharedState;
use super::statements::IngestStatements;
use crate::clock::Clock;
use crate::health::Health;
use crate::kafka::Topics;
use crate::source::mapping::Mapping;

/// What all workers of a process have in common.
pub struct WorkerEnvironment {
    /// Prefix of the consumer groups.
    pub group_prefix: String,
    /// The id of this process.
    pub process: String,
    pub args: IngestArgs,
    pub config: ClientConfig,
    pub producer: ClientConfig,
    pub topics: Topics,
    pub clock: Clock,
    pub health: Health,
    pub metrics: IngestMetrics,
    pub shared: SharedState,
    pub statements: IngestStatements,
    /// Where requests to schema registries run.
    pub runtime: Handle,
}

/// What a worker needs.
#[derive(Clone)]
pub struct WorkerSettings {
    pub common: Arc<WorkerEnvironment>,
    pub topic: String,
    /// The name of the worker in readiness and liveness.
    pub condition: String,
    /// The mapping, and changes of it.
    pub mapping: watch::Receiver<Arc<Mapping>>,
    /// The consumer group, prefix included.
    pub group: String,
    /// Something has been stated about each of the first partitions of the topic, this many.
    pub stated: i32,
}
