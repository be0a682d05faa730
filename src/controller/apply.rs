//! The fourth stage: writes records, statuses and events. Each write first checks the
//! leadership.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::watch;

use super::diff::ResourceWrite;
use super::lease::Leadership;
use super::metrics::ControllerMetrics;
use super::published::{EndOffsetProbe, PublishedRecords};
use super::resource_kind::{ResourceKind, ResourceStatus};
use crate::policy::crd::status::{Condition, ConditionStatus, ConditionType};
use crate::policy::document::API_VERSION;
use crate::policy::writer::PolicyTopicWriter;

/// Field manager of server-side apply.
pub const FIELD_MANAGER: &str = "sundown-controller";
/// The longest note of an event that Kubernetes accepts, in bytes.
const MAX_NOTE_BYTES: usize = 1_024;
/// Bounds the wait until written records have been read back.
const READ_BACK_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a write failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Another controller may lead by now.
    #[error("this controller is no longer the leader")]
    NotLeading,
    #[error("{0}")]
    Topic(String),
    #[error("{0}")]
    Api(String),
}

/// Writes records, statuses and events while this controller leads.
pub struct Applier {
    pub leadership: Leadership,
    pub writer: PolicyTopicWriter,
    pub published: watch::Receiver<PublishedRecords>,
    pub metrics: ControllerMetrics,
    /// The offset of the last record that the brokers acknowledged, and when they did, on the
    /// clock.
    last_written: Option<(i64, Duration)>,
    client: Client,
    recorder: Recorder,
    kind: &'static str,
    resource: ApiResource,
    key: fn(&str) -> String,
}

impl Applier {
    /// Creates an applier for a kind of resource, that reports events as `identity`.
    #[must_use]
    pub fn new<K: ResourceKind>(
        client: Client,
        identity: &str,
        leadership: Leadership,
        writer: PolicyTopicWriter,
        published: watch::Receiver<PublishedRecords>,
        metrics: ControllerMetrics,
    ) -> Self {
        let reporter = Reporter {
            controller: "sundown.dev/controller".to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            leadership,
            writer,
            published,
            metrics,
            last_written: None,
            kind: K::KIND,
            resource: K::api_resource(),
            key: K::key,
        }
    }

    /// Returns whether the records that were written have been read again, or are gone with a topic
    /// that has been created again since. Until then, they must not be written once more.
    #[must_use]
    pub fn has_read_back(&self, probe: &EndOffsetProbe) -> bool {
        let Some((last, written_at)) = self.last_written else {
            return true;
        };
        let gone =
            probe.requested_at > written_at && probe.end.as_ref().is_ok_and(|end| *end <= last);
        gone || self.published.borrow().position > last
    }

    /// Writes records and waits until they have been read back, so that the next reconcile does
    /// not write them again.
    ///
    /// # Errors
    /// The first failure; the other writes may have succeeded.
    pub async fn write_records(&mut self, writes: &[ResourceWrite]) -> Result<(), ApplyError> {
        let written = join_all(writes.iter().map(|write| self.write_record(write))).await;
        let last = written
            .iter()
            .filter_map(|offset| offset.as_ref().ok())
            .max();
        if let Some(last) = last {
            self.last_written = Some((*last, self.leadership.now()));
            let read_back = self
                .published
                .wait_for(|published| published.position > *last);
            if tokio::time::timeout(READ_BACK_TIMEOUT, read_back)
                .await
                .is_err()
            {
                let problem = "the written records cannot be read back";
                return Err(ApplyError::Topic(problem.to_owned()));
            }
        }
        written.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
    }

    async fn write_record(&self, write: &ResourceWrite) -> Result<i64, ApplyError> {
        if !self.leadership.permits() {
            return Err(ApplyError::NotLeading);
        }
        let value = write.value.as_deref();
        let key = (self.key)(&write.name);
        let written = self.writer.write_record(&key, value).await;
        let offset = written.map_err(|error| ApplyError::Topic(error.to_string()))?;
        self.metrics
            .record_written(self.kind, write.value.is_none());
        tracing::info!(
            kind = self.kind,
            name = write.name,
            deleted = write.value.is_none(),
            offset,
            "wrote the record of a resource"
        );
        Ok(offset)
    }

    /// Writes the status of `object`, and returns the object that results.
    ///
    /// # Errors
    /// If the API server fails or times out, or this controller no longer leads.
    pub async fn write_status(
        &self,
        object: &DynamicObject,
        status: &impl ResourceStatus,
    ) -> Result<DynamicObject, ApplyError> {
        if !self.leadership.permits() {
            return Err(ApplyError::NotLeading);
        }
        let namespace = object.namespace().unwrap_or_default();
        let name = object.name_any();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &namespace, &self.resource);
        // The uid protects an object of the same name that has been created since.
        let patch = Patch::Apply(json!({
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "metadata": {"name": name, "uid": object.uid()},
            "status": status,
        }));
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patched = api.patch_status(&name, &params, &patch);
        let result = match tokio::time::timeout(self.leadership.write_timeout(), patched).await {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(error)) => Err(ApplyError::Api(crate::output::chain(&error))),
            Err(_) => Err(ApplyError::Api("the API server timed out".to_owned())),
        };
        self.metrics.status_written(result.is_ok());
        result
    }

    /// Publishes an event for each problem in `conditions` that was not in the `previous` ones.
    /// Lost events are logged only.
    pub async fn publish_events(
        &self,
        object: &DynamicObject,
        previous: &[Condition],
        conditions: &[Condition],
    ) {
        for problem in conditions.iter().filter(|condition| is_problem(condition)) {
            let same = |known: &&Condition| {
                let now = (
                    problem.kind,
                    problem.status,
                    &problem.reason,
                    &problem.message,
                );
                (known.kind, known.status, &known.reason, &known.message) == now
            };
            if previous.iter().find(same).is_some() || !self.leadership.permits() {
                continue;
            }
            let mut note = problem.message.clone();
            note.truncate(note.floor_char_boundary(MAX_NOTE_BYTES));
            let event = Event {
                type_: EventType::Warning,
                reason: problem.reason.clone(),
                note: Some(note),
                action: "Reconcile".to_owned(),
                secondary: None,
            };
            let reference = object.object_ref(&self.resource);
            let published = self.recorder.publish(&event, &reference);
            let limit = self.leadership.write_timeout();
            match tokio::time::timeout(limit, published).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(
                    error = crate::output::chain(&error),
                    "cannot publish an event"
                ),
                Err(_) => tracing::warn!("publishing an event timed out"),
            }
        }
    }
}

/// Returns whether the condition requires action by a user.
fn is_problem(condition: &Condition) -> bool {
    match condition.kind {
        ConditionType::Ready => {
            condition.status != ConditionStatus::True && condition.reason != "Publishing"
        }
        ConditionType::Ambiguous => condition.status == ConditionStatus::True,
        ConditionType::Distributed | ConditionType::Reading => false,
    }
}

/// Exponential backoff of failed writes, by key: from half a second to a minute.
#[derive(Debug, Default)]
pub struct WriteBackoff(BTreeMap<String, Retry>);

#[derive(Debug, Default)]
struct Retry {
    failures: u32,
    /// The earliest time of the next attempt.
    at: Duration,
}

impl WriteBackoff {
    const MIN: Duration = Duration::from_millis(500);
    const MAX: Duration = Duration::from_secs(60);

    /// Returns whether a write may be attempted at `now`.
    #[must_use]
    pub fn permits(&self, key: &str, now: Duration) -> bool {
        self.0.get(key).is_none_or(|retry| retry.at <= now)
    }

    /// Records a failure at `now`, and returns whether it is the first in a row.
    pub fn record_failure(&mut self, key: &str, now: Duration) -> bool {
        let retry = self.0.entry(key.to_owned()).or_default();
        let delay = Self::MIN.saturating_mul(1 << retry.failures.min(10));
        retry.at = now + delay.min(Self::MAX);
        retry.failures += 1;
        retry.failures == 1
    }

    /// Resets the backoff of a key.
    pub fn reset(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Resets the backoff of all keys that `keep` does not return `true` for.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|key, _| keep(key));
    }
}
