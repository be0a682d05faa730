//! `log`: a structured line in the handler's own log.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Action, Attempt, Delivery};
use crate::handler::event::{Event, Triggers};
use crate::handler::fields::ActionName;

/// What stands in the place of an id.
const REDACTED: &str = "(redacted)";

/// A `log` action in the actions file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// What policies and metrics call it.
    pub name: ActionName,
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    /// Write session and user ids. Off unless said otherwise: logs travel far.
    #[serde(default)]
    show_ids: bool,
    /// When to run.
    #[serde(default)]
    pub on: Triggers,
}

/// Writes events to the log.
#[derive(Debug)]
pub struct Log {
    name: ActionName,
    show_ids: bool,
}

impl Log {
    /// One that keeps ids to itself.
    #[must_use]
    pub fn new(name: ActionName) -> Self {
        let show_ids = false;
        Self { name, show_ids }
    }
}

impl From<Config> for Log {
    fn from(Config { name, show_ids, .. }: Config) -> Self {
        Self { name, show_ids }
    }
}

impl Action for Log {
    fn run<'a>(&'a self, Delivery { event, .. }: Delivery<'a>) -> Attempt<'a> {
        let (session, user) = if self.show_ids {
            (event.session_id(), event.user().unwrap_or("null"))
        } else {
            (REDACTED, REDACTED)
        };
        let (action, event_id) = (&self.name, event.id());
        let (reason, policy) = (event.reason().as_str(), event.policy().name.as_str());
        match event {
            Event::Ended(ended) => tracing::info!(
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
            Event::Expiring(expiring) => tracing::info!(
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
