//! The kinds of resources that the controller publishes: policies and sources.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::conditions::{PublicationInput, Readers};
use super::metrics::ControllerMetrics;
use super::published::PublishedRecords;
use super::rollout::{ProcessRegistry, Rollout};
use super::scope::Scope;
use super::validate::Validation;
use crate::policy::crd::status::Condition;

/// A kind of resource.
pub trait ResourceKind: Send + Sync + 'static {
    type Spec: Send + Sync;
    type Status: ResourceStatus;

    /// The `kind`.
    const KIND: &'static str;
    /// The plural for people, as in `policies`.
    const PLURAL: &'static str;
    /// Whether the controller is unready while it cannot list resources of this kind.
    const REQUIRED: bool;
    /// Interval between updates of a status in which only counts have changed.
    const COUNTS_INTERVAL: Duration;
    /// The processes that read the published resources.
    const READERS: &'static Readers;

    /// The API resource.
    fn api_resource() -> ApiResource;

    /// The key of the record of the resource with this full name.
    fn key(name: &str) -> String;

    /// The published values, by full name.
    fn values(published: &PublishedRecords) -> &BTreeMap<String, Vec<u8>>;

    /// The generation of the published resource with this full name.
    fn active_generation(published: &PublishedRecords, name: &str) -> Option<u64>;

    /// Validates the resources of the API server. Records outside `known` belong to other owners.
    fn validate(
        &self,
        known: &Scope,
        objects: &BTreeMap<String, DynamicObject>,
        published: &PublishedRecords,
    ) -> Validation<Self::Spec>;

    /// The unpublished resources that can end sessions.
    fn can_end_sessions(
        _validation: &Validation<Self::Spec>,
        _published: &PublishedRecords,
    ) -> Vec<String> {
        Vec::new()
    }

    /// What the conditions of a resource on its publication are derived from.
    fn publication<'a>(
        inputs: &StatusInputs<'a, Self::Spec>,
        name: &str,
        object: &DynamicObject,
        rollout: &'a Rollout,
    ) -> PublicationInput<'a> {
        let valid = inputs.validation.valid.get(name);
        let value = Self::values(inputs.published).get(name);
        PublicationInput {
            generation: object.metadata.generation.unwrap_or(1),
            rejection: inputs.validation.rejected.get(name),
            active_generation: Self::active_generation(inputs.published, name),
            published: valid.is_some_and(|resource| resource.is_published(value)),
            kafka_error: inputs.kafka_error,
            rollout,
            readers: Self::READERS,
        }
    }

    /// Derives the statuses.
    fn statuses(&self, inputs: &StatusInputs<'_, Self::Spec>) -> Vec<StatusUpdate<Self::Status>>;

    /// Sets the metrics of these resources, and removes those of all others.
    fn show(metrics: &ControllerMetrics, updates: &[StatusUpdate<Self::Status>]);
}

/// What the statuses of a kind are derived from.
pub struct StatusInputs<'a, Spec> {
    pub known: &'a Scope,
    pub objects: &'a BTreeMap<String, DynamicObject>,
    pub validation: &'a Validation<Spec>,
    pub published: &'a PublishedRecords,
    pub processes: &'a ProcessRegistry,
    /// The problem with Kafka.
    pub kafka_error: Option<&'a str>,
    /// The time on the clock.
    pub now: Duration,
    /// The time of conditions that change now, RFC 3339.
    pub wall: &'a str,
}

/// The desired status of a resource.
pub struct StatusUpdate<Status> {
    pub name: String,
    pub object: DynamicObject,
    /// Whether it is valid and published.
    pub ready: bool,
    pub status: Status,
    pub rollout: Rollout,
}

/// The status of a kind.
pub trait ResourceStatus:
    Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync
{
    fn observed_generation(&self) -> Option<i64>;

    fn conditions(&self) -> &[Condition];

    /// Returns the status without counts that change all the time.
    #[must_use]
    fn without_counts(&self) -> Self;

    /// Returns whether two statuses differ in more than counts.
    fn differs_in_more_than_counts(&self, other: &Self) -> bool {
        self.without_counts() != other.without_counts()
    }
}

/// Returns the status of an object as this controller writes it: without the conditions of other
/// controllers; the default if it cannot be read.
#[must_use]
pub fn status_of<Status: ResourceStatus>(object: &DynamicObject) -> Status {
    let mut status = object.data.get("status").cloned().unwrap_or_default();
    if let Some(Value::Array(conditions)) = status.get_mut("conditions") {
        conditions.retain(|one| serde_json::from_value::<Condition>(one.clone()).is_ok());
    }
    serde_json::from_value(status).unwrap_or_default()
}
