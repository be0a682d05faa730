//! What a consumer reads its topic for.

use super::action::named::NamedAction;
use super::event::Trigger;
use super::fields::ActionName;
use crate::handler::metrics::NO_ACTION;

/// The role of one consumer. Each role has a consumer group and so its own progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerRole {
    /// Checks terminal events, and dead-letters those that no action can handle.
    Check,
    /// Runs one action for one kind of event.
    Run {
        action: ActionName,
        trigger: Trigger,
    },
}

impl ConsumerRole {
    /// The roles of a handler with these actions.
    #[must_use]
    pub fn all(actions: &[NamedAction]) -> Vec<Self> {
        let mut roles = vec![Self::Check];
        for named in actions {
            for trigger in [Trigger::Ending, Trigger::Warning] {
                if named.on.contains(trigger) {
                    let action = named.name.clone();
                    roles.push(Self::Run { action, trigger });
                }
            }
        }
        roles
    }

    #[must_use]
    pub fn trigger(&self) -> Trigger {
        match self {
            Self::Check => Trigger::Ending,
            Self::Run { trigger, .. } => *trigger,
        }
    }

    /// The action, as metrics label it.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Check => NO_ACTION,
            Self::Run { action, .. } => action.as_str(),
        }
    }

    /// The consumer group, given that of the handler. Names of actions contain no dot, so no two
    /// roles share a group.
    #[must_use]
    pub fn group(&self, handler_group: &str) -> String {
        match self {
            Self::Check => handler_group.to_owned(),
            Self::Run { action, trigger } => {
                let base = base_group(handler_group, *trigger);
                format!("{base}.{action}")
            }
        }
    }

    /// The readiness condition that is met while the consumer has an assignment.
    #[must_use]
    pub fn condition(&self) -> String {
        match self {
            Self::Check => "group".to_owned(),
            Self::Run { action, trigger } => match trigger {
                Trigger::Ending => format!("group of {action}"),
                Trigger::Warning => format!("warnings group of {action}"),
            },
        }
    }
}

/// The group whose committed offsets a new group of an action starts from.
#[must_use]
pub fn base_group(handler_group: &str, trigger: Trigger) -> String {
    match trigger {
        Trigger::Ending => handler_group.to_owned(),
        Trigger::Warning => format!("{handler_group}-warnings"),
    }
}
