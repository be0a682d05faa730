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
/// The same for [`Fault::TargetDown`]. Above one, so that a single event whose failure only
/// looks like it delays no others while they succeed.
const DOWN_THRESHOLD: u32 = 2;
/// The longest `Retry-After` of a target that keeps the circuit open.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Records whether the target of one action works.
///
/// A closed circuit lets every event try. An open one lets none try until a pause is over; then
/// it is half-open, and the event that has waited longest tries alone, as the probe. If the
/// probe fails, its event goes to the end of the queue, and the next pause is longer, up to the
/// longest backoff. So an event that always fails keeps the circuit open only until the probe of
/// another event succeeds; from then on its failures count as its own ([`FailureHistory`]).
///
/// While the circuit is not closed, the probes of the process have a note, and the action's
/// consumers stop reading once enough events wait. No event is dead-lettered.
#[derive(Debug)]
pub struct CircuitBreaker {
    action: ActionName,
    note: String,
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
    /// Attempts that showed that the target works.
    successes: u64,
    /// The reason of the last failure.
    problem: String,
    /// The pauses to come, since the circuit has opened.
    backoffs: ExponentialBackoff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CircuitState {
    Closed,
    Open { until: Duration },
    HalfOpen,
}

/// The failures of one event at a target. An event is at fault itself, whatever its error, if an
/// attempt fails that began after others had succeeded since its last failure.
#[derive(Debug, Default)]
pub struct FailureHistory {
    /// The target's successes at the time of the last failure.
    successes: Option<u64>,
}

/// Permission to make an attempt.
#[derive(Debug)]
pub struct Permit<'a> {
    /// Held by an attempt that probes a half-open circuit.
    probe: Option<AsyncMutexGuard<'a, ()>>,
    /// The target's successes before the attempt.
    successes: u64,
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
            note: format!("action {action}"),
            action,
            retry,
            circuit: Mutex::new(Circuit {
                state: CircuitState::Closed,
                failures: 0,
                successes: 0,
                problem: String::new(),
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
            return self.permit(None);
        }
        let probe = self.probe.lock().await;
        loop {
            let pause = match self.try_half_open() {
                CircuitState::Closed => return self.permit(None),
                CircuitState::HalfOpen => return self.permit(Some(probe)),
                CircuitState::Open { until } => until.saturating_sub(self.clock.elapsed()),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.closed.notified() => {}
            }
        }
    }

    fn permit<'a>(&self, probe: Option<AsyncMutexGuard<'a, ()>>) -> Permit<'a> {
        let successes = self.circuit().successes;
        Permit { probe, successes }
    }

    /// Returns whether `permit` is still valid: the circuit may have opened since.
    pub fn is_valid(&self, permit: &Permit<'_>) -> bool {
        permit.probe.is_some() || self.is_closed()
    }

    /// Records the result of an attempt of the event with this `history`. Returns whether the
    /// failure is the target's alone, so that it does not count for the event. `jitter` is a
    /// random number from 0 to 1.
    pub fn record(
        &self,
        permit: &Permit<'_>,
        result: &Result<(), ActionError>,
        history: &mut FailureHistory,
        jitter: f64,
    ) -> bool {
        let error = match result {
            Err(error) if error.fault == Fault::Handler => return false,
            Err(error) if error.fault.is_target() => error,
            // A target that refuses an event works.
            Ok(()) | Err(_) => {
                self.circuit().successes += 1;
                self.close();
                return false;
            }
        };
        let mut circuit = self.circuit();
        circuit.failures = circuit.failures.saturating_add(1);
        let at_last_failure = history.successes.replace(circuit.successes);
        // An attempt that began before the success of another one may have met the same outage.
        let others_succeed = at_last_failure.is_some_and(|count| count < permit.successes);
        let was_closed = circuit.state == CircuitState::Closed;
        let down = error.fault == Fault::TargetDown;
        let threshold = if down {
            DOWN_THRESHOLD
        } else {
            FAILURE_THRESHOLD
        };
        if was_closed && circuit.failures < threshold {
            return down && !others_succeed;
        }
        if was_closed {
            circuit.backoffs = self.retry.backoffs();
        }
        // A half-open circuit stays half-open if the probe's event itself is at fault.
        if was_closed || (permit.probe.is_some() && !others_succeed) {
            // At least half of the backoff: retrying at once would be no pause.
            let pause = self.retry.next(&mut circuit.backoffs);
            let pause = pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
            let retry_after = error.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
            circuit.state = CircuitState::Open {
                until: self.clock.elapsed() + pause.max(retry_after),
            };
        }
        let problem = if down {
            "cannot be used"
        } else {
            "keeps failing"
        };
        let problem = format!("its target {problem}: {error}");
        circuit.problem.clone_from(&problem);
        drop(circuit);
        let note = format!("{problem}; its events wait, other actions go on");
        self.health.set_note(self.note.clone(), note);
        if was_closed {
            self.metrics.set_circuit_open(self.action.as_str(), true);
            tracing::warn!(action = %self.action, reason = problem, "circuit open: events wait");
        }
        !others_succeed
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
            self.health.remove_note(&self.note);
            self.metrics.set_circuit_open(self.action.as_str(), false);
            tracing::info!(action = %self.action, "circuit closed: events no longer wait");
        }
    }

    /// The target's problem while the circuit is not closed.
    pub fn problem(&self) -> Option<String> {
        let circuit = self.circuit();
        (circuit.state != CircuitState::Closed).then(|| circuit.problem.clone())
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
