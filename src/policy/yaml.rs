//! Session policies as people write them: YAML, several documents in a text, each checked
//! by the rules that hold in Kubernetes.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::policy::document::{PolicyError, SessionPolicy};
use crate::policy::rules;
use crate::session::Policy;

/// A document and what it comes to.
pub type Checked = (SessionPolicy, Policy);

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not YAML, or not of the form of a session policy. What comes after it is
    /// not looked at.
    #[error("document {number}: {source}")]
    Malformed {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        source: serde_yaml::Error,
    },
    /// The policy contradicts itself.
    #[error(transparent)]
    Invalid(#[from] PolicyError),
    /// Kubernetes would refuse it.
    #[error("SessionPolicy '{policy}': {problem}")]
    Refused {
        /// The policy's full name.
        policy: String,
        /// Which field, and why.
        problem: String,
    },
    /// A policy of this name came before.
    #[error("there are two policies named '{0}': rename one")]
    Duplicate(String),
}

/// The policies in `text`, each checked. Empty documents are skipped. At most one error is
/// [`DocumentError::Malformed`], and then it is the last.
///
/// `names` are those that are taken, by documents of texts before this one.
pub fn parse(text: &str, names: &mut BTreeSet<String>) -> Vec<Result<Checked, DocumentError>> {
    let mut parsed = Vec::new();
    for (number, document) in (1..).zip(serde_yaml::Deserializer::from_str(text)) {
        match Option::<SessionPolicy>::deserialize(document) {
            // Two `---` in a row, or a comment after the last one.
            Ok(None) => {}
            Ok(Some(document)) => parsed.push(check(document, names)),
            Err(source) => {
                parsed.push(Err(DocumentError::Malformed { number, source }));
                break;
            }
        }
    }
    parsed
}

fn check(document: SessionPolicy, names: &mut BTreeSet<String>) -> Result<Checked, DocumentError> {
    let policy = document.to_policy()?;
    let wrong_name = rules::wrong_name(&document.metadata.name);
    let wrong_name = wrong_name.map(|problem| format!("metadata.name: {problem}"));
    let mut problems = wrong_name
        .into_iter()
        .chain(rules::wrong_fields(&document.spec));
    if let Some(problem) = problems.next() {
        let problem = problems.fold(problem, |all, problem| format!("{all}; {problem}"));
        let policy = policy.name;
        return Err(DocumentError::Refused { policy, problem });
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
    fn every_problem_is_told_up_to_what_is_not_yaml() {
        let texts = [
            policy("a", "1h"),
            policy("b", "0s"),
            "---\n# nothing\n".to_owned(),
            policy("a", "2h"),
            policy("c", "[soon"),
            policy("d", "0s"),
        ];
        let parsed = parse(&texts.concat(), &mut BTreeSet::new());
        let told: Vec<_> = parsed
            .iter()
            .map(|result| match result {
                Ok((_, policy)) => policy.name.clone(),
                Err(error) => error.to_string(),
            })
            .collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert_eq!(told[0], "a");
        for (told, words) in told[1..].iter().zip([
            "SessionPolicy 'b': spec.idleTimeout: must be more than zero",
            "two policies named 'a'",
            "document 5",
        ]) {
            assert!(told.contains(words), "{told}");
        }
    }
}
