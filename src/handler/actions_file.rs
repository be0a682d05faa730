//! The actions file: what the handler does about sessions that are over.

mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonwebtoken::jwk::Jwk;

use super::action::log;
use super::action::named::NamedAction;
use super::event::Triggers;
use super::fields::{ActionConfigError, ActionName};
use super::retry::RetryPolicy;
use crate::bounded::{self, MAX_DOCUMENT_BYTES};
use parse::{ActionConfig, File};

/// What the handler does, and how wait_for_topics.
#[derive(Clone, Debug)]
pub struct Actions {
    /// In the order of the file.
    pub list: Vec<NamedAction>,
    /// For all of them.
    pub retry: RetryPolicy,
}

/// An actions file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}; check --actions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: std::io::Error,
    },
    /// It is not written as it should be; names line and field.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: serde_yaml::Error,
    },
    /// What it says cannot be done.
    #[error("{}: {reason}", path.display())]
    ActionConfigError {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: ActionConfigError,
    },
}

impl Actions {
    /// Reads an actions file, and the secrets that it refers to.
    ///
    /// # Errors
    /// [`ConfigError`] naming the file, and the line and field where they are known.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = bounded::read_text_file(path, MAX_DOCUMENT_BYTES);
        let text = text.map_err(|reason| ConfigError::Unreadable {
            path: path.to_owned(),
            reason,
        })?;
        let file = File::parse(&text).map_err(|reason| ConfigError::Malformed {
            path: path.to_owned(),
            reason,
        })?;
        Self::build(file).map_err(|reason| ConfigError::ActionConfigError {
            path: path.to_owned(),
            reason,
        })
    }

    /// One `log` action, for a handler that was told nothing.
    #[must_use]
    pub fn only_log() -> Self {
        let name = ActionName::of_kind("log");
        let action = Arc::new(log::Log::new(name.clone()));
        Self {
            list: vec![NamedAction {
                name,
                action,
                on: Triggers::default(),
            }],
            retry: RetryPolicy::default(),
        }
    }

    /// The public keys of all actions, each once.
    #[must_use]
    pub fn public_keys(&self) -> Vec<Jwk> {
        let keys = self
            .list
            .iter()
            .flat_map(|named| named.action.public_keys());
        let by_id: BTreeMap<_, _> = keys.map(|key| (key.common.key_id.clone(), key)).collect();
        by_id.into_values().collect()
    }

    fn build(file: File) -> Result<Self, ActionConfigError> {
        if file.actions.is_empty() {
            return Err(ActionConfigError::NoActions);
        }
        let list = file.actions.into_iter().map(ActionConfig::build);
        let list = list.collect::<Result<Vec<_>, _>>()?;
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

#[cfg(test)]
mod tests;
