//! Session sources as a kind of resource.

mod rollout;
mod validate;

use std::collections::BTreeMap;
use std::time::Duration;

use kube::CustomResourceExt;
use kube::api::{ApiResource, DynamicObject};

use super::conditions::{
    Evaluation, PublicationInput, Readers, UndatedCondition, dated, publication,
};
use super::metrics::{ControllerMetrics, SourceGauges};
use super::published::PublishedRecords;
use super::resource_kind::{ResourceKind, ResourceStatus, StatusInputs, StatusUpdate, status_of};
use super::scope::Scope;
use super::validate::Validation;
use crate::kafka::Topics;
use crate::policy::crd::status::{Condition, ConditionStatus, ConditionType};
use crate::source::document::KIND;
use crate::source::spec::{SessionSourceResource, SessionSourceSpec, SessionSourceStatus};
use crate::source::topic;
use rollout::IngestProgress;
use validate::validate;

/// The readers of sources.
static INGEST: Readers = Readers {
    singular: "ingest process",
    plural: "ingest processes",
    none: "NoIngest",
    all: "AllIngest",
};

/// Session sources.
pub struct SourceKind {
    /// The topics of this installation, which cannot be sources.
    pub own_topics: Topics,
}

impl ResourceKind for SourceKind {
    type Spec = SessionSourceSpec;
    type Status = SessionSourceStatus;

    const KIND: &'static str = KIND;
    const PLURAL: &'static str = "sources";
    const REQUIRED: bool = false;
    const COUNTS_INTERVAL: Duration = Duration::from_secs(15);
    const READERS: &'static Readers = &INGEST;

    fn api_resource() -> ApiResource {
        SessionSourceResource::api_resource()
    }

    fn key(name: &str) -> String {
        topic::key(name)
    }

    fn values(published: &PublishedRecords) -> &BTreeMap<String, Vec<u8>> {
        &published.source_values
    }

    fn active_generation(published: &PublishedRecords, name: &str) -> Option<u64> {
        let active = published.sources.document(name);
        active.and_then(|active| active.metadata.generation)
    }

    fn validate(
        &self,
        known: &Scope,
        objects: &BTreeMap<String, DynamicObject>,
        published: &PublishedRecords,
    ) -> Validation<SessionSourceSpec> {
        validate(known, objects, published, &self.own_topics)
    }

    fn statuses(
        &self,
        inputs: &StatusInputs<'_, SessionSourceSpec>,
    ) -> Vec<StatusUpdate<SessionSourceStatus>> {
        let objects = inputs.objects.iter();
        let updates = objects.map(|(name, object)| status_update(inputs, name, object));
        updates.collect()
    }

    fn show(metrics: &ControllerMetrics, updates: &[StatusUpdate<SessionSourceStatus>]) {
        let gauges = updates.iter().map(|update| SourceGauges {
            name: &update.name,
            ready: update.ready,
            processes: update.rollout.applied,
        });
        let gauges: Vec<_> = gauges.collect();
        metrics.set_sources(&gauges);
    }
}

fn status_update(
    inputs: &StatusInputs<'_, SessionSourceSpec>,
    name: &str,
    object: &DynamicObject,
) -> StatusUpdate<SessionSourceStatus> {
    let generation = object.metadata.generation.unwrap_or(1);
    let active = inputs.published.sources.document(name);
    let topics = active.map_or(&[][..], |active| &active.spec.topics);
    let (rollout, progress) = inputs.processes.source_rollout(
        (name, u64::try_from(generation).unwrap_or(1)),
        topics,
        inputs.now,
    );
    let input = SourceKind::publication(inputs, name, object, &rollout);
    let previous: SessionSourceStatus = status_of(object);
    let reading = UndatedCondition::new(ConditionType::Reading, reading(&input, &progress));
    let conditions = publication(&input).into_iter().chain([reading]);
    let conditions = dated(conditions, generation, &previous.conditions, inputs.wall);
    // The numbers are unknown while process reports cannot be read.
    let status = if inputs.kafka_error.is_some() {
        SessionSourceStatus {
            observed_generation: Some(generation),
            conditions,
            ..previous
        }
    } else {
        SessionSourceStatus {
            observed_generation: Some(generation),
            conditions,
            processes: Some(format!("{}/{}", rollout.applied, rollout.processes)),
            records: Some(progress.records),
            lag: progress.lag,
        }
    };
    StatusUpdate {
        name: name.to_owned(),
        object: object.clone(),
        ready: input.rejection.is_none() && input.published,
        status,
        rollout,
    }
}

/// Whether the processes can read the topics.
fn reading(input: &PublicationInput<'_>, progress: &IngestProgress) -> Evaluation {
    use ConditionStatus::{False, True, Unknown};
    match (input.kafka_error, &progress.problem) {
        (Some(error), _) => {
            let message = format!("the reports of the {} are unknown: {error}", INGEST.plural);
            (Unknown, "KafkaUnavailable", message)
        }
        (None, _) if input.rollout.processes == 0 => {
            let message = format!("no {} has reported recently", INGEST.singular);
            (Unknown, INGEST.none, message)
        }
        (None, Some(problem)) => (False, "NotReading", problem.clone()),
        (None, None) => {
            let message = "no ingest process reports a problem with its topics".to_owned();
            (True, "Reading", message)
        }
    }
}

impl ResourceStatus for SessionSourceStatus {
    fn observed_generation(&self) -> Option<i64> {
        self.observed_generation
    }

    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn without_counts(&self) -> Self {
        Self {
            records: None,
            lag: None,
            ..self.clone()
        }
    }
}
