//! The fourth stage: writes records, statuses and events. Right before each write it asks
//! whether this process still leads.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::watch;

use super::build::Write;
use super::lease::Leadership;
use super::records::{PolicyWriter, Records};
use super::watch::resource;
use crate::controller::metrics::ControllerMetrics;
use crate::policy::crd::status::{Condition, ConditionStatus, ConditionType};
use crate::policy::document::{API_VERSION, KIND, SessionPolicyStatus};

/// In whose name fields are written.
pub const FIELD_MANAGER: &str = "sundown-controller";
/// The longest note of an event that Kubernetes takes, in bytes.
const LONGEST_NOTE: usize = 1_024;
/// How long to wait until the records just written have been read back.
const READ_BACK: Duration = Duration::from_secs(3);

/// Why something has not been written.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Another controller may lead by now.
    #[error("this controller does not lead any more")]
    NotLeading,
    /// The topic could not be written to.
    #[error("{0}")]
    Topic(String),
    /// The API server refused, or did not answer.
    #[error("{0}")]
    Api(String),
}

/// Writes what the controller has to say.
pub struct Applier {
    /// Whether it may.
    pub leadership: Leadership,
    /// To the topic.
    pub writer: PolicyWriter,
    /// What is in the topic.
    pub records: watch::Receiver<Records>,
    /// What is counted.
    pub metrics: ControllerMetrics,
    client: Client,
    recorder: Recorder,
    resource: ApiResource,
}

impl Applier {
    /// An applier in the name of `identity`.
    #[must_use]
    pub fn new(
        client: Client,
        identity: &str,
        leadership: Leadership,
        writer: PolicyWriter,
        records: watch::Receiver<Records>,
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
            records,
            metrics,
            resource: resource(),
        }
    }

    /// Writes records, and waits until they have been read back, so that nothing is written
    /// twice.
    ///
    /// # Errors
    /// The first of the writes that failed; the others may have succeeded.
    pub async fn write_records(&mut self, writes: &[Write]) -> Result<(), ApplyError> {
        let written = join_all(writes.iter().map(|write| self.write_record(write))).await;
        let last = written
            .iter()
            .filter_map(|offset| offset.as_ref().ok())
            .max();
        if let Some(last) = last {
            let arrived = self.records.wait_for(|records| records.position > *last);
            if tokio::time::timeout(READ_BACK, arrived).await.is_err() {
                let trouble = "the policies were written, but cannot be read back";
                return Err(ApplyError::Topic(trouble.to_owned()));
            }
        }
        written.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
    }

    async fn write_record(&self, write: &Write) -> Result<i64, ApplyError> {
        if !self.leadership.permits() {
            return Err(ApplyError::NotLeading);
        }
        let written = self.writer.write(&write.name, write.value.as_deref()).await;
        let offset = written.map_err(ApplyError::Topic)?;
        self.metrics.record(write.value.is_none());
        tracing::info!(
            policy = write.name,
            deleted = write.value.is_none(),
            offset,
            "published"
        );
        Ok(offset)
    }

    /// Writes the status of `object`; the object as it is then.
    ///
    /// # Errors
    /// If the API server refuses, does not answer in time, or another process may lead.
    pub async fn write_status(
        &self,
        object: &DynamicObject,
        status: &SessionPolicyStatus,
    ) -> Result<DynamicObject, ApplyError> {
        if !self.leadership.permits() {
            return Err(ApplyError::NotLeading);
        }
        let namespace = object.namespace().unwrap_or_default();
        let name = object.name_any();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &namespace, &self.resource);
        // With its uid, so that a namesake made since gets no status that is not its own.
        let patch = Patch::Apply(json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "uid": object.uid()},
            "status": status,
        }));
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patched = api.patch_status(&name, &params, &patch);
        let outcome = match tokio::time::timeout(self.leadership.write_limit(), patched).await {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(error)) => Err(ApplyError::Api(crate::output::chain(&error))),
            Err(_) => Err(ApplyError::Api(
                "the API server does not answer in time".to_owned(),
            )),
        };
        self.metrics.status(outcome.is_ok());
        outcome
    }

    /// Tells of problems that a status has and the one before it had not. Events are for
    /// people who look: one that is lost is only logged.
    pub async fn tell_problems(
        &self,
        object: &DynamicObject,
        before: &SessionPolicyStatus,
        status: &SessionPolicyStatus,
    ) {
        for problem in status
            .conditions
            .iter()
            .filter(|condition| is_problem(condition))
        {
            let same = |known: &&Condition| {
                let now = (
                    problem.kind,
                    problem.status,
                    &problem.reason,
                    &problem.message,
                );
                (known.kind, known.status, &known.reason, &known.message) == now
            };
            if before.conditions.iter().find(same).is_some() || !self.leadership.permits() {
                continue;
            }
            let mut note = problem.message.clone();
            note.truncate(note.floor_char_boundary(LONGEST_NOTE));
            let event = Event {
                type_: EventType::Warning,
                reason: problem.reason.clone(),
                note: Some(note),
                action: "Reconcile".to_owned(),
                secondary: None,
            };
            let reference = object.object_ref(&self.resource);
            let published = self.recorder.publish(&event, &reference);
            let limit = self.leadership.write_limit();
            match tokio::time::timeout(limit, published).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(
                    error = crate::output::chain(&error),
                    "an event could not be written"
                ),
                Err(_) => tracing::warn!("an event could not be written in time"),
            }
        }
    }
}

/// Whether it is something that somebody has to see to.
fn is_problem(condition: &Condition) -> bool {
    match condition.kind {
        ConditionType::Ready => {
            condition.status != ConditionStatus::True && condition.reason != "Publishing"
        }
        ConditionType::Ambiguous => condition.status == ConditionStatus::True,
        ConditionType::Distributed => false,
    }
}

/// The status that an object has, as far as it is the controller's.
#[must_use]
pub fn status_of(object: &DynamicObject) -> SessionPolicyStatus {
    let status = object.data.get("status").cloned().unwrap_or_default();
    let field = |name: &str| status.get(name).cloned();
    let conditions = field("conditions").and_then(|list| list.as_array().cloned());
    // Conditions of others are none of the controller's business.
    let ours = conditions.into_iter().flatten();
    SessionPolicyStatus {
        observed_generation: field("observedGeneration").and_then(|value| value.as_i64()),
        conditions: ours
            .filter_map(|condition| serde_json::from_value(condition).ok())
            .collect(),
        trackers: field("trackers").and_then(|value| value.as_str().map(str::to_owned)),
        sessions: field("sessions").and_then(|value| value.as_u64()),
    }
}

/// When what failed may be tried again: after half a second, then twice as long each
/// time, up to a minute.
#[derive(Debug, Default)]
pub struct Backoff(BTreeMap<String, (u32, Duration)>);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(60);

    /// Whether `what` may be tried at `now`.
    #[must_use]
    pub fn permits(&self, what: &str, now: Duration) -> bool {
        self.0.get(what).is_none_or(|(_, at)| *at <= now)
    }

    /// `what` has failed at `now`; whether that is the first time in a row.
    pub fn failed(&mut self, what: &str, now: Duration) -> bool {
        let (failures, at) = self.0.entry(what.to_owned()).or_default();
        let pause = Self::FIRST.saturating_mul(1 << (*failures).min(10));
        *at = now + pause.min(Self::LONGEST);
        *failures += 1;
        *failures == 1
    }

    /// `what` has succeeded, or is not there any more.
    pub fn forget(&mut self, what: &str) {
        self.0.remove(what);
    }

    /// Forgets all for which `keep` says so.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|what, _| keep(what));
    }
}
