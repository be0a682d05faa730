//! An action with its name and triggers.

use std::fmt;
use std::sync::Arc;

use super::Action;
use crate::handler::event::{Reasons, Trigger, Triggers};
use crate::handler::fields::ActionName;
use crate::session::EndReason;

/// An action of the actions file, ready to run.
#[derive(Clone)]
pub struct NamedAction {
    /// The name in policies, metrics and dead letters.
    pub name: ActionName,
    pub action: Arc<dyn Action>,
    pub on: Triggers,
    pub reasons: Reasons,
}

impl NamedAction {
    /// Returns whether the action runs for events of this kind and reason. The reason of an
    /// event that cannot be decoded is unknown, and excludes no action.
    #[must_use]
    pub fn runs_for(&self, trigger: Trigger, reason: Option<EndReason>) -> bool {
        self.on.contains(trigger) && reason.is_none_or(|reason| self.reasons.contains(reason))
    }
}

impl fmt::Debug for NamedAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamedAction({})", self.name)
    }
}
