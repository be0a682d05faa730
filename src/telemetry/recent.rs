//! The latest warnings and errors of the log, for process reports.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::limit::{self, Fingerprint};
use crate::clock::Clock;
use crate::wire::time;

/// The number of entries kept. Each process report carries all of them.
const MAX_ENTRIES: usize = 10;
/// The longest message kept, in bytes.
const MAX_MESSAGE_BYTES: usize = 512;

/// A process has one log, hence one list.
static RECENT: Mutex<VecDeque<(Option<Fingerprint>, RecentError)>> = Mutex::new(VecDeque::new());

/// A warning or error from the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentError {
    /// RFC 3339.
    pub at: String,
    /// `warn` or `error`.
    pub level: String,
    /// The module that logged it.
    pub target: String,
    /// The message, followed by the fields as `name=value`.
    pub message: String,
}

/// The latest warnings and errors, oldest first.
#[must_use]
pub fn recent_errors() -> Vec<RecentError> {
    recent().iter().map(|(_, error)| error.clone()).collect()
}

fn recent() -> MutexGuard<'static, VecDeque<(Option<Fingerprint>, RecentError)>> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the latest log events of level `WARN` and above.
pub(super) struct RecentErrorsLayer;

impl<S: Subscriber> Layer<S> for RecentErrorsLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::WARN {
            return;
        }
        let mut message = MessageVisitor::default();
        event.record(&mut message);
        let mut recent = recent();
        // An error that repeats itself must not displace all others.
        let cause = limit::cause(event);
        recent.retain(|(known, _)| cause.is_none() || *known != cause);
        if recent.len() == MAX_ENTRIES {
            recent.pop_front();
        }
        let error = RecentError {
            at: time::format(Clock::default().wall()),
            level: level.as_str().to_lowercase(),
            target: event.metadata().target().to_owned(),
            message: message.finish(),
        };
        recent.push_back((cause, error));
    }
}

/// Formats the message and fields of an event.
#[derive(Default)]
struct MessageVisitor {
    message: String,
    fields: String,
}

impl MessageVisitor {
    fn finish(mut self) -> String {
        self.message.push_str(&self.fields);
        let mut end = self.message.len().min(MAX_MESSAGE_BYTES);
        while !self.message.is_char_boundary(end) {
            end -= 1;
        }
        self.message.truncate(end);
        self.message
    }
}

impl Visit for MessageVisitor {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _infallible = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn only_warnings_and_errors_are_kept_with_their_fields() {
        let subscriber = tracing_subscriber::registry().with(RecentErrorsLayer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not this");
            tracing::warn!(topic = "t", attempts = 3, "trying again");
            tracing::error!("{}", "x".repeat(2 * MAX_MESSAGE_BYTES));
        });
        let kept = recent_errors();
        let messages: Vec<_> = kept.iter().map(|error| error.message.as_str()).collect();
        assert!(messages.contains(&r#"trying again topic="t" attempts=3"#));
        assert!(messages.contains(&"x".repeat(MAX_MESSAGE_BYTES).as_str()));
        assert!(!messages.contains(&"not this"));
        assert!(kept.len() <= MAX_ENTRIES);
    }
}
