//! `log`: a structured line in the handler's own log.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Action, Attempt, Delivery};
use crate::handler::config::ActionName;

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
        let ids = (
            event.session_id.as_str(),
            event.user_id.as_ref().map_or("null", |user| user.get()),
        );
        let (session, user) = if self.show_ids {
            ids
        } else {
            (REDACTED, REDACTED)
        };
        tracing::info!(
            action = %self.name,
            event_id = %event.event_id,
            reason = event.reason.as_str(),
            policy = event.policy.name,
            ended_at = event.ended_at,
            detected_at = event.detected_at,
            session,
            user,
            "session ended"
        );
        Box::pin(std::future::ready(Ok(())))
    }
}
