//! `log`: writes a structured line to the handler's own log.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Action, ActionInput, Attempt};
use crate::handler::event::{Reasons, TriggerEvent, Triggers};
use crate::handler::fields::ActionName;

const REDACTED: &str = "(redacted)";

/// A `log` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LogConfig {
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    /// Whether to log session and user ids. Off by default, because logs are copied widely.
    #[serde(default)]
    show_ids: bool,
    #[serde(default)]
    pub on: Triggers,
    #[serde(default)]
    pub reasons: Reasons,
}

/// Writes events to the log.
#[derive(Debug)]
pub struct Log {
    name: ActionName,
    show_ids: bool,
}

impl Log {
    /// Creates an action that redacts ids.
    #[must_use]
    pub fn new(name: ActionName) -> Self {
        let show_ids = false;
        Self { name, show_ids }
    }
}

impl From<LogConfig> for Log {
    fn from(LogConfig { name, show_ids, .. }: LogConfig) -> Self {
        Self { name, show_ids }
    }
}

impl Action for Log {
    fn run<'a>(&'a self, ActionInput { event, .. }: ActionInput<'a>) -> Attempt<'a> {
        let (session, user) = if self.show_ids {
            (event.session_id(), event.user().unwrap_or("null"))
        } else {
            (REDACTED, REDACTED)
        };
        let (action, event_id) = (&self.name, event.id());
        let (reason, policy) = (event.reason().as_str(), event.policy().name.as_str());
        match event {
            TriggerEvent::Ended(ended) => tracing::info!(
                %action,
                %event_id,
                reason,
                policy,
                ended_at = ended.ended_at,
                detected_at = ended.detected_at,
                session,
                user,
                "session ended"
            ),
            TriggerEvent::Expiring(expiring) => tracing::info!(
                %action,
                %event_id,
                reason,
                policy,
                expires_at = expiring.expires_at,
                session,
                user,
                "session ends soon"
            ),
        }
        Box::pin(std::future::ready(Ok(())))
    }
}
