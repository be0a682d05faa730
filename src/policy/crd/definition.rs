//! The CustomResourceDefinition of session policies.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::super::document::SessionPolicyResource;

/// The CustomResourceDefinition.
#[must_use]
pub fn definition() -> CustomResourceDefinition {
    SessionPolicyResource::crd()
}
