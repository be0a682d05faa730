//! An action with its name and what the events that it runs for.

use std::fmt;
use std::sync::Arc;

use super::Action;
use crate::handler::event::Triggers;
use crate::handler::fields::ActionName;

/// An action, ready to run.
#[derive(Clone)]
pub struct NamedAction {
    /// What policies, metrics and dead letters call it.
    pub name: ActionName,
    /// What it does.
    pub action: Arc<dyn Action>,
    /// When it does it.
    pub on: Triggers,
}

impl fmt::Debug for NamedAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NamedAction({})", self.name)
    }
}
