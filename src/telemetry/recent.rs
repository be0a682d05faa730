//! The latest warnings and errors of this process's log, for its process reports.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock::Clock;
use crate::wire::time;

/// How many are kept. Each report carries them all.
const KEPT: usize = 10;
/// The longest text that is kept of one, in bytes.
const MAX_BYTES: usize = 512;

/// One process has one log, so it has one list.
static RECENT: Mutex<VecDeque<RecentError>> = Mutex::new(VecDeque::new());

/// A warning or an error of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentError {
    /// When, RFC 3339.
    pub at: String,
    /// `warn` or `error`.
    pub level: String,
    /// The part of the program that said so.
    pub target: String,
    /// What it said: the message, then its fields as `name=value`.
    pub message: String,
}

/// The latest ones, the oldest first.
#[must_use]
pub fn recent_errors() -> Vec<RecentError> {
    recent().iter().cloned().collect()
}

fn recent() -> MutexGuard<'static, VecDeque<RecentError>> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps what is logged as a warning or worse.
pub(super) struct Recent;

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::WARN {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let mut recent = recent();
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back(RecentError {
            at: time::format(Clock::default().wall()),
            level: level.as_str().to_lowercase(),
            target: event.metadata().target().to_owned(),
            message: text.finish(),
        });
    }
}

/// An event's message and fields as one text.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn finish(mut self) -> String {
        self.message.push_str(&self.fields);
        let mut end = self.message.len().min(MAX_BYTES);
        while !self.message.is_char_boundary(end) {
            end -= 1;
        }
        self.message.truncate(end);
        self.message
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Strings take everything.
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
    fn warnings_and_errors_are_kept_with_their_fields_and_nothing_else_is() {
        let subscriber = tracing_subscriber::registry().with(Recent);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not this");
            tracing::warn!(topic = "t", attempts = 3, "trying again");
            tracing::error!("{}", "x".repeat(2 * MAX_BYTES));
        });
        let kept = recent_errors();
        let messages: Vec<_> = kept.iter().map(|error| error.message.as_str()).collect();
        assert!(messages.contains(&r#"trying again topic="t" attempts=3"#));
        assert!(messages.contains(&"x".repeat(MAX_BYTES).as_str()));
        assert!(!messages.contains(&"not this"));
        assert!(kept.len() <= KEPT);
    }
}
