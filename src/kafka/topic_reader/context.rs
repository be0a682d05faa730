//! Logging of a reader's errors.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::kafka::errors::WithHint;

/// Logs each error code once until reading succeeds again.
pub(super) struct ReaderContext {
    reader: String,
    /// Whether any error has been logged since reading last succeeded; checked for each record.
    failing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The topics of the current assignment, joined by commas.
    topics: String,
    logged: Vec<RDKafkaErrorCode>,
}

impl ReaderContext {
    pub(super) fn new(reader: &str) -> Self {
        Self {
            reader: reader.to_owned(),
            failing: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// Sets the topics that later errors are logged with.
    pub(super) fn set_topics(&self, topics: &BTreeSet<&str>) {
        let topics: Vec<_> = topics.iter().copied().collect();
        self.state().topics = topics.join(", ");
    }

    /// Reading has succeeded: later errors are logged again.
    pub(super) fn clear_errors(&self) {
        if self.failing.load(Ordering::Relaxed) {
            self.state().logged.clear();
            self.failing.store(false, Ordering::Relaxed);
        }
    }

    /// Whether the code has not been logged since reading last succeeded.
    fn is_new(&self, code: RDKafkaErrorCode) -> bool {
        let logged = &mut self.state().logged;
        if logged.contains(&code) {
            return false;
        }
        logged.push(code);
        self.failing.store(true, Ordering::Relaxed);
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for ReaderContext {
    fn error(&self, error: KafkaError, reason: &str) {
        let reader = self.reader.as_str();
        match error.rdkafka_error_code() {
            // The first is the end of a partition; the second concerns a group that the
            // reader does not join.
            Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::GroupAuthorizationFailed) => {}
            Some(code) if self.is_new(code) => {
                let topics = self.state().topics.clone();
                tracing::warn!(reader, topics, error = %WithHint(&error), reason, "reading failed; retrying");
            }
            _ => tracing::debug!(reader, %error, reason, "reading failed; retrying"),
        }
    }
}

impl ConsumerContext for ReaderContext {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_new_once_until_reading_succeeds() {
        let context = ReaderContext::new("test");
        let (down, failed) = (
            RDKafkaErrorCode::AllBrokersDown,
            RDKafkaErrorCode::BrokerTransportFailure,
        );
        assert!(context.is_new(down));
        assert!(context.is_new(failed));
        assert!(!context.is_new(down));
        context.clear_errors();
        assert!(context.is_new(down));
        assert!(!context.is_new(down));
    }
}
