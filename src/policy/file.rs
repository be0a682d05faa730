//! Session policies from a YAML file, read again whenever it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use tokio_util::sync::CancellationToken;

use crate::bounded::{self, MAX_DOCUMENT_BYTES};
use crate::policy::yaml::{DocumentError, parse};
use crate::session::policy::TooManyPolicies;
use crate::session::{Policy, PolicySet};

/// How often the file is looked at. Looking beats being told: a mounted ConfigMap is
/// replaced through symbolic links, which file watches miss.
const INTERVAL: Duration = Duration::from_millis(250);

/// Why a file's policies cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// It cannot be read.
    #[error("cannot read policies from {}: {source}; check --policies", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// One of its policies cannot be used.
    #[error("{}: {source}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Which policy, and why.
        source: DocumentError,
    },
    /// More policies than can be in force.
    #[error("{}: {source}", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// How many.
        source: TooManyPolicies,
    },
}

/// A file of session policies.
#[derive(Debug)]
pub struct PolicyFile {
    path: PathBuf,
    fallback: Policy,
    /// What was last taken for policies.
    text: String,
    /// What was last read.
    seen: String,
    /// The policies last read, to give those that have changed a new generation.
    known: BTreeMap<String, Policy>,
}

impl PolicyFile {
    /// Reads the policies in the file at `path`, with `fallback` for the sessions that
    /// none of them matches.
    ///
    /// # Errors
    /// [`PolicyFileError`] naming the file, the policy and the field.
    pub fn open(path: &Path, fallback: Policy) -> Result<(Self, Arc<PolicySet>), PolicyFileError> {
        let mut file = Self {
            path: path.to_owned(),
            fallback,
            text: String::new(),
            seen: String::new(),
            known: BTreeMap::new(),
        };
        let text = file.read()?;
        let policies = file.load(&text)?;
        file.seen.clone_from(&text);
        file.text = text;
        Ok((file, policies))
    }

    /// Looks at the file until `stop`, on a thread of its own, and gives `changed` what
    /// it holds whenever that has changed and has been the same for two looks. Policies that
    /// cannot be used are logged, and those that were in force stay so.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn watch(
        mut self,
        stop: CancellationToken,
        mut changed: impl FnMut(Arc<PolicySet>) + Send + 'static,
    ) -> io::Result<()> {
        let watch = move || {
            while !stop.is_cancelled() {
                thread::sleep(INTERVAL);
                match self.refresh() {
                    Ok(Some(policies)) => {
                        tracing::info!(path = %self.path.display(), policies = self.known.len(), "policies changed");
                        changed(policies);
                    }
                    Ok(None) => {}
                    Err(error) => tracing::error!(%error, "the policies in force stay"),
                }
            }
        };
        thread::Builder::new()
            .name("policy-file".to_owned())
            .spawn(watch)?;
        Ok(())
    }

    fn refresh(&mut self) -> Result<Option<Arc<PolicySet>>, PolicyFileError> {
        // A file that is being replaced may be gone for a moment: not worth an error.
        let Ok(text) = self.read() else {
            return Ok(None);
        };
        // One that is written in place is empty or cut short for a moment, and what there is
        // may be policies all the same: sessions would end by the rules that are left.
        if text != self.seen {
            self.seen = text;
            return Ok(None);
        }
        if text == self.text {
            return Ok(None);
        }
        // An invalid file is reported once, not four times a second.
        self.text.clone_from(&text);
        self.load(&text).map(Some)
    }

    fn read(&self) -> Result<String, PolicyFileError> {
        let unreadable = |source| PolicyFileError::Unreadable {
            path: self.path.clone(),
            source,
        };
        bounded::read_text_file(&self.path, MAX_DOCUMENT_BYTES).map_err(unreadable)
    }

    fn load(&mut self, text: &str) -> Result<Arc<PolicySet>, PolicyFileError> {
        let path = || self.path.clone();
        let mut policies = BTreeMap::new();
        for document in parse(text, &mut BTreeSet::new()) {
            let (document, mut policy) = document.map_err(|source| PolicyFileError::Document {
                path: path(),
                source,
            })?;
            if document.metadata.generation.is_none() {
                policy.generation = self.next_generation(&policy);
            }
            policies.insert(policy.name.clone(), policy);
        }
        let set = PolicySet::new(policies.values().cloned().collect(), self.fallback.clone())
            .map_err(|source| PolicyFileError::TooMany {
                path: path(),
                source,
            })?;
        self.known = policies;
        Ok(Arc::new(set))
    }

    /// Outside Kubernetes nobody counts generations: one more with every change seen.
    fn next_generation(&self, policy: &Policy) -> u64 {
        let Some(known) = self.known.get(&policy.name) else {
            return 1;
        };
        let unchanged = Policy {
            generation: known.generation,
            ..policy.clone()
        } == *known;
        known.generation + u64::from(!unchanged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Span;

    const TWO: &str = "
apiVersion: sundown.dev/v1alpha1
kind: SessionPolicy
metadata: {name: default}
spec: {idleTimeout: 1h, absoluteTimeout: 12h, warnBefore: 5m}
---
apiVersion: sundown.dev/v1alpha1
kind: SessionPolicy
metadata: {name: acme}
spec:
  idleTimeout: 15m
  priority: 1
  match: {attributes: {tenant: acme}, userIds: ['svc-*']}
";

    fn open(text: &str) -> Result<(PolicyFile, Arc<PolicySet>), String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let fallback = Policy::built_in(Span::from_secs(3600), None);
        PolicyFile::open(file.path(), fallback).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_several_documents_the_most_important_first() {
        let (_, set) = open(TWO).unwrap();
        let names: Vec<_> = set.iter().map(|policy| policy.name.as_str()).collect();
        assert_eq!(names, ["acme", "default", "built-in"]);
        assert!(set.iter().next().unwrap().idle_timeout == Span::from_secs(900));
    }

    #[test]
    fn only_a_policy_that_changed_gets_a_new_generation() {
        let (mut file, _) = open(TWO).unwrap();
        let set = file.load(&TWO.replace("15m", "20m")).unwrap();
        let generations: Vec<_> = set.iter().map(|policy| policy.generation).collect();
        assert_eq!(generations, [2, 1, 0]);
    }

    #[test]
    fn a_file_that_is_being_written_changes_nothing() {
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(text.path(), TWO).unwrap();
        let fallback = Policy::built_in(Span::from_secs(3600), None);
        let (mut file, _) = PolicyFile::open(text.path(), fallback).unwrap();
        let half = TWO.split("---").next().unwrap();
        for piece in ["", half, "nonsense: [", TWO] {
            std::fs::write(text.path(), piece).unwrap();
            assert!(file.refresh().unwrap().is_none(), "{piece}");
        }
        assert!(file.refresh().unwrap().is_none(), "nothing has changed");
        std::fs::write(text.path(), half).unwrap();
        assert!(file.refresh().unwrap().is_none());
        let set = file.refresh().unwrap().unwrap();
        assert_eq!(set.iter().count(), 2, "one of the file, one built in");
        assert!(file.refresh().unwrap().is_none());
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        for (from, to, expected) in [
            (
                "15m",
                "0s",
                "SessionPolicy 'acme': spec.idleTimeout: must be more than zero",
            ),
            ("15m", "soon", "'soon' is not a duration"),
            (
                "15m",
                "2d",
                "spec.idleTimeout: has days: write them in hours",
            ),
            (
                "12h",
                "30m",
                "spec.absoluteTimeout: must be at least idleTimeout (1h)",
            ),
            (
                "5m",
                "1h",
                "spec.warnBefore: must be less than idleTimeout (1h)",
            ),
            (
                "name: acme",
                "name: default",
                "two policies named 'default'",
            ),
            ("priority: 1", "prioritee: 1", "document 2"),
            (
                "v1alpha1",
                "v9",
                "expected sundown.dev/v1alpha1 SessionPolicy",
            ),
        ] {
            let error = open(&TWO.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
