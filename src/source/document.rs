//! `SessionSource`: the document that maps the records of topics to session events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::expression::ExpressionError;
use super::spec::SessionSourceSpec;
use crate::policy::document::{API_VERSION, Metadata};
use crate::policy::rules::name_problem;

/// The `kind` of session sources.
pub const KIND: &str = "SessionSource";

/// A session source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionSource {
    /// `sundown.dev/v1alpha1`.
    pub api_version: String,
    /// `SessionSource`.
    pub kind: String,
    /// The name of the source.
    pub metadata: Metadata,
    /// What to read, and how to map it.
    pub spec: SessionSourceSpec,
}

/// An invalid source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SessionSource '{source_name}': {problem}")]
pub struct SourceError {
    source_name: String,
    problem: SourceProblem,
}

/// What is wrong with a source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceProblem {
    #[error("{0}: {1}")]
    Field(&'static str, String),
    #[error(transparent)]
    Expression(#[from] ExpressionError),
}

impl SessionSource {
    /// `namespace/name`, or the bare name outside Kubernetes.
    #[must_use]
    pub fn full_name(&self) -> String {
        match &self.metadata.namespace {
            Some(namespace) => format!("{namespace}/{}", self.metadata.name),
            None => self.metadata.name.clone(),
        }
    }

    /// Names the source in an error.
    pub(super) fn error(&self, problem: impl Into<SourceProblem>) -> SourceError {
        SourceError {
            source_name: self.full_name(),
            problem: problem.into(),
        }
    }

    /// Checks everything but the expressions.
    pub(super) fn check(&self) -> Result<(), SourceProblem> {
        let fail = |field, problem: &str| Err(SourceProblem::Field(field, problem.to_owned()));
        if self.api_version != API_VERSION || self.kind != KIND {
            let found = format!("{} {}", self.api_version, self.kind);
            let problem = format!("found {found}, expected {API_VERSION} {KIND}");
            return Err(SourceProblem::Field("apiVersion, kind", problem));
        }
        if let Some(problem) = name_problem(&self.metadata.name) {
            return fail("metadata.name", problem);
        }
        match (&self.spec.topic_pattern, self.spec.topics.is_empty()) {
            (None, true) => return fail("spec.topics", "is empty: name the topics to read"),
            (Some(_), false) => {
                return fail(
                    "spec.topicPattern",
                    "and spec.topics are both set: remove one",
                );
            }
            (None, false) | (Some(_), true) => {}
        }
        for (index, topic) in self.spec.topics.iter().enumerate() {
            let valid = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if topic.is_empty() || topic.len() > 249 || !topic.chars().all(valid) {
                let problem = format!("'{topic}' is not the name of a topic");
                return Err(SourceProblem::Field("spec.topics", problem));
            }
            if self.spec.topics[..index].contains(topic) {
                let problem = format!("'{topic}' is listed twice: remove one");
                return Err(SourceProblem::Field("spec.topics", problem));
            }
        }
        let session = &self.spec.session;
        if session.id.is_none() && session.user.is_none() {
            return fail(
                "spec.session",
                "has neither id nor user: one of them is needed to find sessions",
            );
        }
        Ok(())
    }
}
