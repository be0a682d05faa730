//! Session policies from a YAML file, reloaded when it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use tokio_util::sync::CancellationToken;

use crate::bounded::{self, MAX_DOCUMENT_BYTES};
use crate::health::{HELPER_TIMEOUT, Health, Heartbeat};
use crate::policy::yaml::{DocumentError, parse};
use crate::session::policy::TooManyPolicies;
use crate::session::{Policy, PolicySet};

/// Interval at which the file is polled. File watches miss updates of a mounted ConfigMap, which
/// is replaced through symbolic links.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Why the policies of a file cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    #[error("cannot read policies from {}: {source}; check --policies", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Document {
        path: PathBuf,
        source: DocumentError,
    },
    #[error("{}: {source}", path.display())]
    TooMany {
        path: PathBuf,
        source: TooManyPolicies,
    },
}

/// A file of session policies.
#[derive(Debug)]
pub struct PolicyFile {
    path: PathBuf,
    fallback: Policy,
    /// The text that was last loaded.
    loaded: String,
    /// The text that was last read.
    read: String,
    /// The policies that were last loaded, to increment the generation of changed ones.
    known: BTreeMap<String, Policy>,
}

impl PolicyFile {
    /// Loads the policies of the file at `path`, with `fallback` for sessions that none of them
    /// matches.
    ///
    /// # Errors
    /// [`PolicyFileError`] naming the file, the policy and the field.
    pub fn open(path: &Path, fallback: Policy) -> Result<(Self, Arc<PolicySet>), PolicyFileError> {
        let mut file = Self {
            path: path.to_owned(),
            fallback,
            loaded: String::new(),
            read: String::new(),
            known: BTreeMap::new(),
        };
        let text = file.read_text()?;
        let policies = file.load(&text)?;
        file.read.clone_from(&text);
        file.loaded = text;
        Ok((file, policies))
    }

    /// Polls the file on a thread until `stop`, and calls `on_change` with the policies when the
    /// file has changed and two successive reads were equal. Invalid files are logged, and the
    /// active policies are unchanged.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn watch(
        mut self,
        health: &Health,
        stop: CancellationToken,
        mut on_change: impl FnMut(Arc<PolicySet>) + Send + 'static,
    ) -> io::Result<()> {
        let watch = move |heartbeat: Heartbeat| {
            while !stop.is_cancelled() {
                heartbeat.beat();
                thread::sleep(POLL_INTERVAL);
                match self.refresh() {
                    Ok(Some(policies)) => {
                        tracing::info!(path = %self.path.display(), policies = self.known.len(), "active policies changed");
                        on_change(policies);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(%error, "invalid policy file; the active policies are unchanged");
                    }
                }
            }
        };
        health.spawn("policy-file", HELPER_TIMEOUT, watch)?;
        Ok(())
    }

    fn refresh(&mut self) -> Result<Option<Arc<PolicySet>>, PolicyFileError> {
        // A file that is being replaced may be missing for a moment.
        let Ok(text) = self.read_text() else {
            return Ok(None);
        };
        // A file that is written in place is truncated for a moment. The rest may be valid
        // policies, by which sessions would end.
        if text != self.read {
            self.read = text;
            return Ok(None);
        }
        if text == self.loaded {
            return Ok(None);
        }
        // An invalid file is logged once.
        self.loaded.clone_from(&text);
        self.load(&text).map(Some)
    }

    fn read_text(&self) -> Result<String, PolicyFileError> {
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

    /// Outside Kubernetes, the generation of a policy is the number of its changes.
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
    fn policies_are_sorted_by_priority() {
        let (_, set) = open(TWO).unwrap();
        let names: Vec<_> = set.iter().map(|policy| policy.name.as_str()).collect();
        assert_eq!(names, ["acme", "default", "built-in"]);
        assert!(set.iter().next().unwrap().idle_timeout == Span::from_secs(900));
    }

    #[test]
    fn only_a_changed_policy_gets_a_new_generation() {
        let (mut file, _) = open(TWO).unwrap();
        let set = file.load(&TWO.replace("15m", "20m")).unwrap();
        let generations: Vec<_> = set.iter().map(|policy| policy.generation).collect();
        assert_eq!(generations, [2, 1, 0]);
    }

    #[test]
    fn a_file_changes_policies_once_two_reads_are_equal() {
        let text = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(text.path(), TWO).unwrap();
        let fallback = Policy::built_in(Span::from_secs(3600), None);
        let (mut file, _) = PolicyFile::open(text.path(), fallback).unwrap();
        let half = TWO.split("---").next().unwrap();
        for piece in ["", half, "nonsense: [", TWO] {
            std::fs::write(text.path(), piece).unwrap();
            assert!(file.refresh().unwrap().is_none(), "{piece}");
        }
        assert!(file.refresh().unwrap().is_none(), "unchanged");
        std::fs::write(text.path(), half).unwrap();
        assert!(file.refresh().unwrap().is_none());
        let set = file.refresh().unwrap().unwrap();
        assert_eq!(
            set.iter().count(),
            2,
            "one from the file, and the built-in one"
        );
        assert!(file.refresh().unwrap().is_none());
    }

    #[test]
    fn errors_name_the_policy_and_the_field() {
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
                "spec.idleTimeout: uses days: write hours instead",
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
