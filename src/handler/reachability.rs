//! Which targets cannot be reached, said once and in every place where people look.

use std::sync::atomic::{AtomicBool, Ordering};

use super::action::ActionError;
use super::config::ActionName;
use crate::admin::Health;
use crate::metrics::handler::HandlerMetrics;

/// Whether the target of one action can be reached, as its last attempt found it.
///
/// While it cannot, its events are kept and tried again, nothing new is read once enough
/// of them wait, and the process is not ready.
#[derive(Debug)]
pub struct Reachability {
    action: ActionName,
    condition: String,
    unreachable: AtomicBool,
    health: Health,
    metrics: HandlerMetrics,
}

impl Reachability {
    /// Of a target that nobody has tried yet.
    #[must_use]
    pub fn new(action: ActionName, health: Health, metrics: HandlerMetrics) -> Self {
        Self {
            condition: format!("action {action}"),
            action,
            unreachable: AtomicBool::new(false),
            health,
            metrics,
        }
    }

    /// An attempt went like this.
    pub fn note(&self, result: &Result<(), ActionError>) {
        let Err(ActionError::Unreachable { reason }) = result else {
            return self.clear();
        };
        let reason = format!("its target cannot be reached: {reason}");
        self.health.set_not_ready(self.condition.clone(), &reason);
        if !self.unreachable.swap(true, Ordering::Relaxed) {
            self.metrics.unreachable(self.action.as_str(), true);
            tracing::warn!(action = %self.action, reason, "events wait");
        }
    }

    /// The target answered, or nobody here waits for it any more.
    pub fn clear(&self) {
        if self.unreachable.swap(false, Ordering::Relaxed) {
            self.health.set_ready(&self.condition);
            self.metrics.unreachable(self.action.as_str(), false);
            tracing::info!(action = %self.action, "events no longer wait");
        }
    }
}
