//! A circuit breaker for each action: while the action's target fails, events wait instead of
//! using up their attempts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::ExponentialBackoff;
use tokio::sync::{MutexGuard as AsyncMutexGuard, Notify};

use super::action::error::{ActionError, Fault};
use super::fields::ActionName;
use super::retry::RetryPolicy;
use crate::clock::Clock;
use crate::handler::metrics::HandlerMetrics;
use crate::health::Health;

/// Consecutive failures, of any events, that open the circuit. Below the default of attempts,
/// so that a target that fails for all events uses up the attempts of none.
const FAILURE_THRESHOLD: u32 = 5;
/// The longest `Retry-After` of a target that keeps the circuit open.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Records whether the target of one action works.
///
/// A closed circuit lets every event try. An open one lets none try until a pause is over; then
/// it is half-open, and the event that has waited longest tries alone, as the probe. If the
/// probe fails, its event goes to the end of the queue, and the next pause is longer, up to the
/// longest backoff. So an event that always fails keeps the circuit open only until the probe of
/// another event succeeds.
///
/// While the circuit is not closed, the process is not ready, and reading pauses once enough
/// events wait. No event is dead-lettered.
#[derive(Debug)]
pub struct CircuitBreaker {
    action: ActionName,
    condition: String,
    retry: RetryPolicy,
    circuit: Mutex<Circuit>,
    /// Held by the probe. The queue for this lock is the order of the probes.
    probe: tokio::sync::Mutex<()>,
    closed: Notify,
    health: Health,
    metrics: HandlerMetrics,
    clock: Clock,
}

#[derive(Debug)]
struct Circuit {
    state: CircuitState,
    /// Consecutive failures.
    failures: u32,
    /// The pauses to come, since the circuit has opened.
    backoffs: ExponentialBackoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CircuitState {
    Closed,
    Open { until: Duration },
    HalfOpen,
}

/// Permission to make an attempt.
#[derive(Debug)]
pub struct Permit<'a> {
    /// Held by an attempt that probes a half-open circuit.
    probe: Option<AsyncMutexGuard<'a, ()>>,
}

impl CircuitBreaker {
    /// Creates a closed circuit. `retry` sets the pauses of an open one.
    #[must_use]
    pub fn new(
        action: ActionName,
        retry: RetryPolicy,
        health: Health,
        metrics: HandlerMetrics,
    ) -> Self {
        Self {
            condition: format!("action {action}"),
            action,
            retry,
            circuit: Mutex::new(Circuit {
                state: CircuitState::Closed,
                failures: 0,
                backoffs: retry.backoffs(),
            }),
            probe: tokio::sync::Mutex::default(),
            closed: Notify::new(),
            health,
            metrics,
            clock: Clock::default(),
        }
    }

    /// Waits until an attempt may be made.
    pub async fn acquire(&self) -> Permit<'_> {
        if self.is_closed() {
            return Permit { probe: None };
        }
        let probe = self.probe.lock().await;
        loop {
            let pause = match self.try_half_open() {
                CircuitState::Closed => return Permit { probe: None },
                CircuitState::HalfOpen => return Permit { probe: Some(probe) },
                CircuitState::Open { until } => until.saturating_sub(self.clock.elapsed()),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.closed.notified() => {}
            }
        }
    }

    /// Returns whether `permit` is still valid: the circuit may have opened since.
    pub fn is_valid(&self, permit: &Permit<'_>) -> bool {
        permit.probe.is_some() || self.is_closed()
    }

    /// Records the result of an attempt. Returns whether the target rather than the event is at
    /// fault. `jitter` is a random number from 0 to 1.
    pub fn record(
        &self,
        permit: &Permit<'_>,
        result: &Result<(), ActionError>,
        jitter: f64,
    ) -> bool {
        let error = match result {
            Ok(()) => {
                self.close();
                return false;
            }
            Err(error) => error,
        };
        let (problem, reachable) = match error.fault {
            // A target that refuses an event works.
            Fault::Event => {
                self.close();
                return false;
            }
            Fault::Handler => return false,
            Fault::Target => ("keeps failing", true),
            Fault::TargetDown => ("cannot be used", false),
        };
        let retry_after = error.retry_after;
        let mut circuit = self.circuit();
        circuit.failures = circuit.failures.saturating_add(1);
        let was_closed = circuit.state == CircuitState::Closed;
        if was_closed && reachable && circuit.failures < FAILURE_THRESHOLD {
            return false;
        }
        if was_closed {
            circuit.backoffs = self.retry.backoffs();
        }
        if was_closed || permit.probe.is_some() {
            // At least half of the backoff: retrying at once would be no pause.
            let pause = self.retry.next(&mut circuit.backoffs);
            let pause = pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
            let retry_after = retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
            circuit.state = CircuitState::Open {
                until: self.clock.elapsed() + pause.max(retry_after),
            };
        }
        drop(circuit);
        let reason = format!("its target {problem}: {error}");
        self.health.set_not_ready(self.condition.clone(), &reason);
        if was_closed {
            self.metrics.set_circuit_open(self.action.as_str(), true);
            tracing::warn!(action = %self.action, reason, "circuit open: events wait");
        }
        true
    }

    /// Closes the circuit: the target works, or the waiting events have been cancelled.
    pub fn close(&self) {
        let was_closed = {
            let mut circuit = self.circuit();
            circuit.failures = 0;
            std::mem::replace(&mut circuit.state, CircuitState::Closed) == CircuitState::Closed
        };
        if !was_closed {
            self.closed.notify_one();
            self.health.set_ready(&self.condition);
            self.metrics.set_circuit_open(self.action.as_str(), false);
            tracing::info!(action = %self.action, "circuit closed: events no longer wait");
        }
    }

    /// Half-opens an open circuit whose pause is over; for the holder of the probe lock. A
    /// circuit that is half-open already has lost its probe: an attempt that panicked.
    fn try_half_open(&self) -> CircuitState {
        let mut circuit = self.circuit();
        if let CircuitState::Open { until } = circuit.state
            && until <= self.clock.elapsed()
        {
            circuit.state = CircuitState::HalfOpen;
        }
        circuit.state
    }

    fn is_closed(&self) -> bool {
        self.circuit().state == CircuitState::Closed
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
