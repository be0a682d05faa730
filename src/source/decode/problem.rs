//! Why a record has not been decoded.

use crate::source::registry::schemas::MissingSchema;

/// Why a record has not been decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::source) enum RecordProblem {
    /// It is not of the source's format.
    Malformed(String),
    /// It can be decoded once the schema has been fetched.
    MissingSchema(MissingSchema),
}

impl From<String> for RecordProblem {
    fn from(problem: String) -> Self {
        Self::Malformed(problem)
    }
}

impl From<MissingSchema> for RecordProblem {
    fn from(missing: MissingSchema) -> Self {
        Self::MissingSchema(missing)
    }
}
