//! The actions file: the configuration of actions and retries.

mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonwebtoken::jwk::Jwk;

use super::action::log;
use super::action::named::NamedAction;
use super::action::shared_signals::stream::SignalStream;
use super::event::{Reasons, Triggers};
use super::fields::{ActionConfigError, ActionName};
use super::retry::RetryPolicy;
use crate::bounded::{self, MAX_DOCUMENT_BYTES};
use parse::{ActionConfig, ActionsFile};

/// The actions of a handler.
#[derive(Clone, Debug)]
pub struct Actions {
    /// In the order of the file.
    pub list: Vec<NamedAction>,
    /// Applies to all actions.
    pub retry: RetryPolicy,
}

/// An actions file that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ActionsFileError {
    #[error("cannot read {}: {reason}; check --actions", path.display())]
    Unreadable {
        path: PathBuf,
        reason: std::io::Error,
    },
    /// The file does not parse; the reason names line and field.
    #[error("{}: {reason}", path.display())]
    Malformed {
        path: PathBuf,
        reason: serde_yaml::Error,
    },
    #[error("{}: {reason}", path.display())]
    Invalid {
        path: PathBuf,
        reason: ActionConfigError,
    },
}

impl Actions {
    /// Reads an actions file and the secrets that it references.
    ///
    /// # Errors
    /// [`ActionsFileError`] naming the file and, if known, the line and field.
    pub fn load(path: &Path) -> Result<Self, ActionsFileError> {
        let text = bounded::read_text_file(path, MAX_DOCUMENT_BYTES);
        let text = text.map_err(|reason| ActionsFileError::Unreadable {
            path: path.to_owned(),
            reason,
        })?;
        let file = ActionsFile::parse(&text).map_err(|reason| ActionsFileError::Malformed {
            path: path.to_owned(),
            reason,
        })?;
        Self::build(file).map_err(|reason| ActionsFileError::Invalid {
            path: path.to_owned(),
            reason,
        })
    }

    /// Creates a single `log` action, the default without an actions file.
    #[must_use]
    pub fn only_log() -> Self {
        let name = ActionName::of_type("log");
        let action = Arc::new(log::Log::new(name.clone()));
        Self {
            list: vec![NamedAction {
                name,
                action,
                on: Triggers::default(),
                reasons: Reasons::default(),
            }],
            retry: RetryPolicy::default(),
        }
    }

    /// The distinct public keys of all actions.
    #[must_use]
    pub fn public_keys(&self) -> Vec<Jwk> {
        let keys = self
            .list
            .iter()
            .flat_map(|named| named.action.public_keys());
        let by_id: BTreeMap<_, _> = keys.map(|key| (key.common.key_id.clone(), key)).collect();
        by_id.into_values().collect()
    }

    /// The streams of Shared Signals that their receivers can see.
    #[must_use]
    pub fn streams(&self) -> Vec<Arc<SignalStream>> {
        let streams = self.list.iter();
        let streams = streams.filter_map(|named| named.action.stream());
        streams.cloned().collect()
    }

    fn build(file: ActionsFile) -> Result<Self, ActionConfigError> {
        if file.actions.is_empty() {
            return Err(ActionConfigError::NoActions);
        }
        let list = file.actions.into_iter().map(ActionConfig::build);
        let list = list.collect::<Result<Vec<_>, _>>()?;
        check_key_ids(&list)?;
        let mut names = BTreeSet::new();
        match list.iter().find(|action| !names.insert(&action.name)) {
            Some(second) => Err(ActionConfigError::Duplicate(second.name.clone())),
            None => Ok(Self {
                list,
                retry: file.retry,
            }),
        }
    }
}

/// Checks that no two keys share a `kid`.
fn check_key_ids(actions: &[NamedAction]) -> Result<(), ActionConfigError> {
    let mut by_id = BTreeMap::new();
    for key in actions.iter().flat_map(|named| named.action.public_keys()) {
        let id = key.common.key_id.clone().unwrap_or_default();
        let other = by_id.insert(id.clone(), key.algorithm.clone());
        if other.is_some_and(|other| other != key.algorithm) {
            return Err(ActionConfigError::DuplicateKey(id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
