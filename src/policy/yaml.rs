//! Session policies as a stream of YAML documents, validated as in Kubernetes.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::policy::document::{PolicyError, SessionPolicy};
use crate::policy::rules;
use crate::session::Policy;

/// A valid document and its compiled policy.
pub type ParsedPolicy = (SessionPolicy, Policy);

/// Why a document is invalid.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The document is not the YAML of a session policy. The documents after it are not parsed.
    #[error("document {number}: {source}")]
    Malformed {
        /// The position of the document, from 1.
        number: usize,
        source: serde_yaml::Error,
    },
    #[error(transparent)]
    Invalid(#[from] PolicyError),
    /// The document violates the CustomResourceDefinition.
    #[error("SessionPolicy '{policy}': {problem}")]
    Violation { policy: String, problem: String },
    /// An earlier document has the same name.
    #[error("there are two policies named '{0}': rename one")]
    Duplicate(String),
}

/// Parses and validates the documents in `text`. Empty documents are skipped. At most one error
/// is [`DocumentError::Malformed`]; it is the last result.
///
/// `names` collects the names of valid documents, also across texts.
pub fn parse(text: &str, names: &mut BTreeSet<String>) -> Vec<Result<ParsedPolicy, DocumentError>> {
    let mut parsed = Vec::new();
    for (number, document) in (1..).zip(serde_yaml::Deserializer::from_str(text)) {
        match Option::<SessionPolicy>::deserialize(document) {
            // Between two `---`, or a comment after the last one.
            Ok(None) => {}
            Ok(Some(document)) => parsed.push(validate(document, names)),
            Err(source) => {
                parsed.push(Err(DocumentError::Malformed { number, source }));
                break;
            }
        }
    }
    parsed
}

fn validate(
    document: SessionPolicy,
    names: &mut BTreeSet<String>,
) -> Result<ParsedPolicy, DocumentError> {
    let policy = document.to_policy()?;
    let name_problem = rules::name_problem(&document.metadata.name);
    let name_problem = name_problem.map(|problem| format!("metadata.name: {problem}"));
    let mut problems = name_problem
        .into_iter()
        .chain(rules::spec_problems(&document.spec));
    if let Some(problem) = problems.next() {
        let problem = problems.fold(problem, |all, problem| format!("{all}; {problem}"));
        let policy = policy.name;
        return Err(DocumentError::Violation { policy, problem });
    }
    if names.insert(policy.name.clone()) {
        Ok((document, policy))
    } else {
        Err(DocumentError::Duplicate(policy.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, idle: &str) -> String {
        format!(
            "---\napiVersion: sundown.dev/v1alpha1\nkind: SessionPolicy\nmetadata: {{name: {name}}}\nspec: {{idleTimeout: {idle}}}\n"
        )
    }

    #[test]
    fn all_problems_are_returned_up_to_the_first_malformed_document() {
        let texts = [
            policy("a", "1h"),
            policy("b", "0s"),
            "---\n# nothing\n".to_owned(),
            policy("a", "2h"),
            policy("c", "[soon"),
            policy("d", "0s"),
        ];
        let parsed = parse(&texts.concat(), &mut BTreeSet::new());
        let results: Vec<_> = parsed
            .iter()
            .map(|result| match result {
                Ok((_, policy)) => policy.name.clone(),
                Err(error) => error.to_string(),
            })
            .collect();
        assert_eq!(results.len(), 4, "{results:?}");
        assert_eq!(results[0], "a");
        for (result, words) in results[1..].iter().zip([
            "SessionPolicy 'b': spec.idleTimeout: must be more than zero",
            "two policies named 'a'",
            "document 5",
        ]) {
            assert!(result.contains(words), "{result}");
        }
    }
}
