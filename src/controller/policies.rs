//! Session policies as a kind of resource.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::CustomResourceExt;
use kube::api::{ApiResource, DynamicObject};

use super::brake;
use super::conditions::{self, PolicyStatusInput, Readers, TRACKERS};
use super::metrics::{ControllerMetrics, PolicyGauges};
use super::published::PublishedRecords;
use super::resource_kind::{ResourceKind, ResourceStatus, StatusInputs, StatusUpdate, status_of};
use super::scope::Scope;
use super::validate::{Ambiguity, PolicyRules, Validation, ambiguities, validate};
use crate::policy::crd::status::Condition;
use crate::policy::document::{
    KIND, SessionPolicyResource, SessionPolicySpec, SessionPolicyStatus,
};

/// Session policies.
pub struct PolicyKind {
    pub rules: PolicyRules,
}

impl ResourceKind for PolicyKind {
    type Spec = SessionPolicySpec;
    type Status = SessionPolicyStatus;

    const KIND: &'static str = KIND;
    const PLURAL: &'static str = "policies";
    const REQUIRED: bool = true;
    const COUNTS_INTERVAL: Duration = Duration::from_secs(5);
    const READERS: &'static Readers = &TRACKERS;

    fn api_resource() -> ApiResource {
        SessionPolicyResource::api_resource()
    }

    fn key(name: &str) -> String {
        name.to_owned()
    }

    fn values(published: &PublishedRecords) -> &BTreeMap<String, Vec<u8>> {
        &published.values
    }

    fn active_generation(published: &PublishedRecords, name: &str) -> Option<u64> {
        let active = published.store.document(name);
        active.and_then(|active| active.metadata.generation)
    }

    fn validate(
        &self,
        known: &Scope,
        objects: &BTreeMap<String, DynamicObject>,
        published: &PublishedRecords,
    ) -> Validation<SessionPolicySpec> {
        let foreign = published.values.keys();
        let foreign = foreign.filter(|name| !known.owns(name)).count();
        validate(objects, &published.values, foreign, &self.rules)
    }

    fn can_end_sessions(
        validation: &Validation<SessionPolicySpec>,
        published: &PublishedRecords,
    ) -> Vec<String> {
        brake::can_end_sessions(validation, published)
    }

    fn statuses(
        &self,
        inputs: &StatusInputs<'_, SessionPolicySpec>,
    ) -> Vec<StatusUpdate<SessionPolicyStatus>> {
        let (published, validation) = (inputs.published, inputs.validation);
        let foreign = published.store.documents();
        let foreign = foreign.filter(|(name, _)| !inputs.known.owns(name));
        let foreign = foreign.map(|(name, document)| (name, &document.spec));
        let ambiguities = ambiguities(&validation.valid, foreign);
        let objects = inputs.objects.iter();
        objects
            .map(|(name, object)| {
                let generation = object.metadata.generation.unwrap_or(1);
                let expected = u64::try_from(generation).unwrap_or(1);
                let rollout = inputs.processes.rollout(name, expected, inputs.now);
                let publication = Self::publication(inputs, name, object, &rollout);
                let ready = publication.rejection.is_none() && publication.published;
                let ambiguity = ambiguities.get(name).unwrap_or(&Ambiguity::None);
                let input = PolicyStatusInput {
                    publication,
                    ambiguity,
                };
                StatusUpdate {
                    name: name.clone(),
                    object: object.clone(),
                    ready,
                    status: conditions::status(&input, &status_of(object), inputs.wall),
                    rollout,
                }
            })
            .collect()
    }

    fn show(metrics: &ControllerMetrics, updates: &[StatusUpdate<SessionPolicyStatus>]) {
        let gauges = updates.iter().map(|update| PolicyGauges {
            name: &update.name,
            generation: update.object.metadata.generation.unwrap_or(1),
            sessions: update.rollout.sessions,
            trackers: update.rollout.applied,
            ready: update.ready,
        });
        let gauges: Vec<_> = gauges.collect();
        metrics.set_policies(&gauges);
    }
}

impl ResourceStatus for SessionPolicyStatus {
    fn observed_generation(&self) -> Option<i64> {
        self.observed_generation
    }

    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn without_counts(&self) -> Self {
        Self {
            sessions: None,
            ..self.clone()
        }
    }
}
