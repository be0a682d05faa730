//! Partitions whose next record names a schema that has not been fetched.
//!
//! Such a partition is paused, and read on from that record once the registry has answered. The
//! other partitions go on. A registry that is down costs time, never a record.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use crate::source::mapping::Mapping;
use crate::source::registry::client::{RegistryClient, RegistryError};
use crate::source::registry::credentials::RegistryCredentialsArgs;
use crate::source::registry::definition::SchemaDefinition;
use crate::source::registry::schemas::{MissingSchema, Schemas};

/// Intervals between requests while the registry does not answer.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// How often a schema is asked for that the registry does not have. A replica of it may lag.
const MAX_UNKNOWN: u32 = 4;
/// How long such a schema counts as unknown.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(60);

/// The waiting partitions of a topic.
#[derive(Debug)]
pub struct WaitingPartitions {
    runtime: Handle,
    credentials: RegistryCredentialsArgs,
    partitions: BTreeMap<i32, WaitingPartition>,
}

#[derive(Debug)]
struct WaitingPartition {
    mapping: Arc<Mapping>,
    schemas: Arc<Schemas>,
    id: u32,
    fetch: Arc<Fetch>,
}

/// A request that is repeated until the registry answers.
#[derive(Debug)]
struct Fetch {
    problem: Arc<Mutex<Option<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl WaitingPartitions {
    /// Starts without partitions. Requests run on `runtime`.
    #[must_use]
    pub fn new(runtime: Handle, credentials: RegistryCredentialsArgs) -> Self {
        Self {
            runtime,
            credentials,
            partitions: BTreeMap::new(),
        }
    }

    /// Whether the partition waits.
    #[must_use]
    pub fn contains(&self, partition: i32) -> bool {
        self.partitions.contains_key(&partition)
    }

    /// Adds a partition, and fetches the schema.
    pub fn add(&mut self, partition: i32, mapping: &Arc<Mapping>, missing: MissingSchema) {
        let Some(schemas) = mapping.schemas() else {
            return;
        };
        let MissingSchema(id) = missing;
        let others = self.partitions.values();
        let mut same = others.filter(|one| one.id == id && Arc::ptr_eq(&one.schemas, schemas));
        let fetch = match same.next() {
            Some(other) => Arc::clone(&other.fetch),
            None => self.fetch(schemas, id),
        };
        let waiting = WaitingPartition {
            mapping: Arc::clone(mapping),
            schemas: Arc::clone(schemas),
            id,
            fetch,
        };
        self.partitions.insert(partition, waiting);
    }

    /// Removes partitions that are assigned no longer.
    pub fn remove(&mut self, partitions: &[i32]) {
        self.partitions
            .retain(|partition, _| !partitions.contains(partition));
    }

    /// Removes and returns the partitions whose record can be mapped, or has to be mapped by
    /// another mapping than before.
    pub fn take_ready(&mut self, active: &Arc<Mapping>) -> Vec<i32> {
        let is_ready = |_: &i32, waiting: &mut WaitingPartition| {
            waiting.schemas.contains(waiting.id) || !Arc::ptr_eq(&waiting.mapping, active)
        };
        let ready = self.partitions.extract_if(.., is_ready);
        ready.map(|(partition, _)| partition).collect()
    }

    /// Why partitions wait, if the registry has been asked in vain.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let waiting = self.partitions.len();
        let problem = self.partitions.values().find_map(|one| {
            let problem = one.fetch.problem.lock();
            problem.unwrap_or_else(PoisonError::into_inner).clone()
        })?;
        Some(format!(
            "{problem}; retrying, {waiting} of the assigned partitions wait for it, and no session ends meanwhile"
        ))
    }

    fn fetch(&self, schemas: &Arc<Schemas>, id: u32) -> Arc<Fetch> {
        let problem = Arc::default();
        let fetch = fetch(
            Arc::clone(schemas),
            id,
            self.credentials.clone(),
            Arc::clone(&problem),
        );
        let task = self.runtime.spawn(fetch);
        Arc::new(Fetch {
            problem,
            _task: AbortOnDropHandle::new(task),
        })
    }
}

/// Fetches a schema, as often as it takes.
async fn fetch(
    schemas: Arc<Schemas>,
    id: u32,
    credentials: RegistryCredentialsArgs,
    problem: Arc<Mutex<Option<String>>>,
) {
    let mut retry = FIRST_RETRY;
    let mut unknown = 0;
    loop {
        match ask(&schemas, id, &credentials).await {
            Ok(definition) => {
                // Compiling takes long for a large schema.
                let compile = move || schemas.add(id, &definition);
                let _runtime_is_stopping = tokio::task::spawn_blocking(compile).await;
                return;
            }
            Err(RegistryError::Unusable(reason)) if unknown >= MAX_UNKNOWN => {
                tracing::warn!(id, reason, "records that name the schema are dead letters");
                schemas.add_unusable(id, reason);
                tokio::spawn(forget_later(schemas, id));
                return;
            }
            Err(error) => {
                let is_unknown = matches!(error, RegistryError::Unusable(_));
                unknown += u32::from(is_unknown);
                let reason = error.to_string();
                let mut known = problem.lock().unwrap_or_else(PoisonError::into_inner);
                if !is_unknown && known.as_ref() != Some(&reason) {
                    tracing::warn!(id, reason, "cannot fetch a schema; retrying");
                    *known = Some(reason);
                }
            }
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(LAST_RETRY);
    }
}

async fn ask(
    schemas: &Schemas,
    id: u32,
    credentials: &RegistryCredentialsArgs,
) -> Result<SchemaDefinition, RegistryError> {
    let client = RegistryClient::new(schemas.registry(), credentials)?;
    client.schema(id).await
}

/// A registry that did not have a schema may have it later.
async fn forget_later(schemas: Arc<Schemas>, id: u32) {
    tokio::time::sleep(UNKNOWN_LIFETIME).await;
    schemas.forget(id);
}
