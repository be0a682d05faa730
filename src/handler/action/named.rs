//! An action with its name and triggers.

use std::fmt;
use std::sync::Arc;

use super::Action;
use crate::handler::event::Triggers;
use crate::handler::fields::ActionName;

/// An action of the actions file, ready to run.
#[derive(Clone)]
pub struct NamedAction {
    /// The name in policies, metrics and dead letters.
    pub name: ActionName,
    pub action: Arc<dyn Action>,
    pub on: Triggers,
}

impl fmt::Debug for NamedAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamedAction({})", self.name)
    }
}
