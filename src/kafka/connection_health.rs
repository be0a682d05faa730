//! Readiness while no broker answers.

use std::time::Duration;

use rdkafka::error::KafkaResult;

use super::errors::WithHint;
use crate::clock::Clock;
use crate::health::Health;

/// How long requests may fail before the process is not ready: longer than a restart of a broker takes.
const TOLERANCE: Duration = Duration::from_secs(60);
/// The name of the readiness condition.
const CONDITION: &str = "kafka";

/// Keeps the readiness condition `kafka` by the answers to periodic requests. Dropping it declares the
/// condition met.
pub struct ConnectionHealth {
    health: Health,
    clock: Clock,
    answered_at: Duration,
}

impl ConnectionHealth {
    /// Counts from now, as if brokers had just answered.
    #[must_use]
    pub fn new(clock: Clock, health: Health) -> Self {
        let answered_at = clock.elapsed();
        Self {
            health,
            clock,
            answered_at,
        }
    }

    /// Records the result of a request. The process is not ready once requests have failed for a minute.
    pub fn observe<T>(&mut self, answer: &KafkaResult<T>) {
        let now = self.clock.elapsed();
        match answer {
            Ok(_) => {
                self.answered_at = now;
                self.health.set_ready(CONDITION);
            }
            Err(error) if now.saturating_sub(self.answered_at) >= TOLERANCE => {
                let reason = format!("no broker answers: {}", WithHint(error));
                self.health.set_not_ready(CONDITION, reason);
            }
            Err(_) => {}
        }
    }
}

impl Drop for ConnectionHealth {
    fn drop(&mut self) {
        self.health.set_ready(CONDITION);
    }
}
