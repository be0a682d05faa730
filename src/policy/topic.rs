//! The policies in force, and the partitions that are paused, as the records of
//! `sundown.policies` have them.

use std::collections::BTreeMap;
use std::{io, thread};

use tokio::sync::mpsc::Receiver;

use crate::kafka::topic_feed::{TopicEvent, TopicRecord};
use crate::policy::document::SessionPolicy;
use crate::policy::pauses::{Pauses, is_control};
use crate::policy::record::{PolicyRecord, PolicyRecordError, decode};
use crate::session::policy::TooManyPolicies;
use crate::session::{Policy, PolicySet};

/// What the records read so far amount to.
#[derive(Clone, Debug, Default)]
pub struct PolicyState {
    policies: BTreeMap<String, Entry>,
    pauses: Pauses,
}

/// What a record has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// The policies in force.
    Policies,
    /// The partitions that are paused.
    Pauses,
}

#[derive(Clone, Debug)]
struct Entry {
    document: SessionPolicy,
    policy: Policy,
}

/// Why a record changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be used.
    #[error(transparent)]
    Record(#[from] PolicyRecordError),
    /// It would be one too many.
    #[error("policy '{name}': {source}")]
    TooMany {
        /// Which.
        name: String,
        /// How many there would be.
        source: TooManyPolicies,
    },
}

/// What is told while a topic of policies is watched.
#[derive(Debug)]
pub enum PolicyUpdate<'a> {
    /// These are in force from now on. Told first when the topic has been read to its
    /// end, then with every change.
    InForce(&'a PolicyState),
    /// These partitions are paused from now on. Told before the policies when the topic
    /// has been read to its end, then with every change.
    Paused(&'a Pauses),
    /// A record has been refused, and logged; what was in force stays so.
    Refused,
}

impl PolicyState {
    /// Takes in a record; what it changes.
    ///
    /// # Errors
    /// [`Refusal`] if it cannot be used; then it changes nothing.
    pub fn read(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Change, Refusal> {
        if is_control(key) {
            let changed = self.pauses.read(key, value);
            return Ok(if changed {
                Change::Pauses
            } else {
                Change::Nothing
            });
        }
        let changed = self.read_policy(key, value)?;
        Ok(if changed {
            Change::Policies
        } else {
            Change::Nothing
        })
    }

    fn read_policy(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<bool, Refusal> {
        match decode(key, value)? {
            PolicyRecord::Deleted(name) => Ok(self.policies.remove(&name).is_some()),
            PolicyRecord::InForce { document, policy } => {
                let known = self.policies.get(&policy.name);
                if known.is_none() && self.policies.len() >= PolicySet::MAX {
                    return Err(Refusal::TooMany {
                        name: policy.name,
                        source: TooManyPolicies {
                            count: self.policies.len() + 1,
                        },
                    });
                }
                let changed = known.is_none_or(|known| {
                    known.policy != policy || known.document.spec.actions != document.spec.actions
                });
                let document = *document;
                self.policies
                    .insert(policy.name.clone(), Entry { document, policy });
                Ok(changed)
            }
        }
    }

    /// The documents, by full name.
    pub fn documents(&self) -> impl ExactSizeIterator<Item = (&str, &SessionPolicy)> {
        let entries = self.policies.iter();
        entries.map(|(name, entry)| (name.as_str(), &entry.document))
    }

    /// The document of the policy with this full name.
    #[must_use]
    pub fn document(&self, name: &str) -> Option<&SessionPolicy> {
        self.policies.get(name).map(|entry| &entry.document)
    }

    /// The policies ready for use, with `fallback` for the sessions that none of them
    /// matches.
    #[must_use]
    pub fn policy_set(&self, fallback: &Policy) -> PolicySet {
        #[expect(
            clippy::expect_used,
            reason = "`read` lets in no more than there may be"
        )]
        PolicySet::new(self.policies().cloned().collect(), fallback.clone())
            .expect("at most PolicySet::MAX policies")
    }

    /// The policies, by full name.
    pub fn policies(&self) -> impl ExactSizeIterator<Item = &Policy> {
        self.policies.values().map(|entry| &entry.policy)
    }

    /// The partitions that are paused.
    #[must_use]
    pub fn pauses(&self) -> &Pauses {
        &self.pauses
    }
}

/// Reads what a follower of the topic learns, on a thread of its own, and has `tell` told
/// what follows from it, until the follower ends.
///
/// # Errors
/// If no thread can be started.
pub fn watch(
    mut followed: Receiver<TopicEvent>,
    mut tell: impl FnMut(PolicyUpdate<'_>) + Send + 'static,
) -> io::Result<()> {
    let watch = move || {
        let mut book = PolicyState::default();
        let mut caught_up = false;
        while let Some(first) = followed.blocking_recv() {
            let (mut policies, mut pauses) = (false, false);
            // Several edits at once are one change.
            let mut next = Some(first);
            while let Some(news) = next {
                match news {
                    TopicEvent::CaughtUp => (caught_up, policies, pauses) = (true, true, true),
                    TopicEvent::Record(record) => match apply(&mut book, &record) {
                        Some(Change::Policies) => policies = true,
                        Some(Change::Pauses) => pauses = true,
                        Some(Change::Nothing) => {}
                        None => tell(PolicyUpdate::Refused),
                    },
                }
                next = followed.try_recv().ok();
            }
            if caught_up && pauses {
                tell(PolicyUpdate::Paused(book.pauses()));
            }
            if caught_up && policies {
                tracing::info!(policies = book.policies().len(), "policies in force");
                tell(PolicyUpdate::InForce(&book));
            }
        }
    };
    thread::Builder::new()
        .name("policy-topic".to_owned())
        .spawn(watch)?;
    Ok(())
}

/// What the record changes; nothing if it was refused.
fn apply(book: &mut PolicyState, record: &TopicRecord) -> Option<Change> {
    let read = book.read(record.key.as_deref(), record.value.as_deref());
    read.inspect_err(|error| {
        let offset = record.offset;
        tracing::error!(%error, offset, "a policy record cannot be used; the policy in force stays");
    })
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(book: &mut PolicyState, name: &str, idle: Option<&str>) -> Result<bool, Refusal> {
        let value = idle.map(|idle| {
            format!(
                r#"{{"apiVersion": "sundown.dev/v1alpha1", "kind": "SessionPolicy",
                    "metadata": {{"name": "{name}", "generation": 1}}, "spec": {{"idleTimeout": "{idle}"}}}}"#
            )
        });
        let value = value.as_ref().map(String::as_bytes);
        let change = book.read(Some(name.as_bytes()), value)?;
        Ok(change == Change::Policies)
    }

    fn names(book: &PolicyState) -> Vec<&str> {
        book.documents().map(|(name, _)| name).collect()
    }

    #[test]
    fn the_last_valid_record_of_a_policy_counts() {
        let mut book = PolicyState::default();
        assert!(read(&mut book, "a", Some("1h")).unwrap());
        assert!(read(&mut book, "b", Some("1h")).unwrap());
        assert!(!read(&mut book, "b", Some("1h")).unwrap(), "nothing new");
        assert!(read(&mut book, "a", Some("0s")).is_err());
        assert_eq!(book.document("a").unwrap().spec.idle_timeout, "1h");
        assert!(read(&mut book, "b", None).unwrap());
        assert!(!read(&mut book, "b", None).unwrap());
        assert_eq!(names(&book), ["a"]);
    }

    #[test]
    fn a_pause_is_no_policy_and_no_refusal() {
        let mut book = PolicyState::default();
        let key = Some(b"control:pause:handler:1".as_slice());
        assert_eq!(book.read(key, Some(b"{}")).unwrap(), Change::Pauses);
        assert_eq!(book.read(key, Some(b"{}")).unwrap(), Change::Nothing);
        let unknown = Some(b"control:of-a-later-release".as_slice());
        assert_eq!(book.read(unknown, Some(b"?")).unwrap(), Change::Nothing);
        assert_eq!(book.documents().len(), 0);
        assert_eq!(book.pauses().iter().count(), 1);
        assert_eq!(book.read(key, None).unwrap(), Change::Pauses);
    }

    #[test]
    fn at_the_bound_known_policies_may_change_and_new_ones_are_refused() {
        let mut book = PolicyState::default();
        for number in 0..PolicySet::MAX {
            read(&mut book, &format!("p{number}"), Some("1h")).unwrap();
        }
        let error = read(&mut book, "one-more", Some("1h")).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("policy 'one-more': 1001 policies")
        );
        assert!(read(&mut book, "p0", Some("2h")).unwrap());
        assert_eq!(book.policies().len(), PolicySet::MAX);
    }
}
