//! Logging of a reader's errors.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::kafka::errors::WithHint;

/// Logs each cause of failure once until reading succeeds again.
pub(super) struct ReaderContext {
    name: String,
    /// Whether `logged` has any: what each record checks.
    failing: AtomicBool,
    logged: Mutex<Vec<RDKafkaErrorCode>>,
}

impl ReaderContext {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            failing: AtomicBool::new(false),
            logged: Mutex::default(),
        }
    }

    /// Reading has succeeded: further errors are logged again.
    pub(super) fn clear_errors(&self) {
        if self.failing.load(Ordering::Relaxed) {
            self.logged().clear();
            self.failing.store(false, Ordering::Relaxed);
        }
    }

    /// Whether the cause has not been logged since reading last succeeded.
    fn is_new(&self, code: RDKafkaErrorCode) -> bool {
        let mut logged = self.logged();
        if logged.contains(&code) {
            return false;
        }
        logged.push(code);
        self.failing.store(true, Ordering::Relaxed);
        true
    }

    fn logged(&self) -> MutexGuard<'_, Vec<RDKafkaErrorCode>> {
        self.logged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for ReaderContext {
    fn error(&self, error: KafkaError, reason: &str) {
        let reader = self.name.as_str();
        match error.rdkafka_error_code() {
            // The first is the end of a partition; the second concerns a group that the
            // reader does not join.
            Some(RDKafkaErrorCode::PartitionEOF | RDKafkaErrorCode::GroupAuthorizationFailed) => {}
            Some(code) if self.is_new(code) => {
                tracing::warn!(reader, error = %WithHint(&error), reason, "reading failed; retrying");
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
    fn a_cause_is_new_once_until_reading_succeeds() {
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
