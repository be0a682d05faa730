//! A circuit for each action: while its target fails, events wait for it instead of using
//! up their attempts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::ExponentialBackoff;
use tokio::sync::{MutexGuard as Turn, Notify};

use super::action::error::ActionError;
use super::fields::ActionName;
use super::retry::RetryPolicy;
use crate::clock::Clock;
use crate::handler::metrics::HandlerMetrics;
use crate::health::Health;

/// This many failures in a row, of whichever events, are the target's. Fewer than the
/// default of attempts: a target that fails for everybody must not use up anybody's.
const FAILURES_TO_OPEN: u32 = 5;
/// The longest time that a target's `Retry-After` keeps everybody away.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Whether the target of one action works, as the attempts so far found it.
///
/// Closed, everybody may try. Open, nobody may until a pause is over; then the event that
/// has waited longest tries alone. If that fails, it goes to the end of the line and the
/// pause gets longer, up to the longest backoff: so an event that fails through a fault of
/// its own does not keep the circuit open for longer than it takes until another's turn.
///
/// While it is open the process is not ready, and once enough events wait, nothing new is
/// read. Nothing is dead-lettered.
#[derive(Debug)]
pub struct CircuitBreaker {
    action: ActionName,
    condition: String,
    patience: RetryPolicy,
    state: Mutex<State>,
    /// Those who wait while it is open, in the order in which they came.
    line: tokio::sync::Mutex<()>,
    closed: Notify,
    health: Health,
    metrics: HandlerMetrics,
    clock: Clock,
}

#[derive(Debug, Default)]
struct State {
    /// Since the last success.
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Duration,
    backoffs: ExponentialBackoff,
}

/// Leave to try.
#[derive(Debug)]
pub struct Permit<'a> {
    /// Held by the one who tries while the circuit is open.
    probe: Option<Turn<'a, ()>>,
}

impl CircuitBreaker {
    /// Of a target that nobody has tried yet. It opens for as long as `patience` says.
    #[must_use]
    pub fn new(
        action: ActionName,
        patience: RetryPolicy,
        health: Health,
        metrics: HandlerMetrics,
    ) -> Self {
        Self {
            condition: format!("action {action}"),
            action,
            patience,
            state: Mutex::default(),
            line: tokio::sync::Mutex::default(),
            closed: Notify::new(),
            health,
            metrics,
            clock: Clock::default(),
        }
    }

    /// Waits until there is leave to try.
    pub async fn admit(&self) -> Permit<'_> {
        if self.pause().is_none() {
            return Permit { probe: None };
        }
        let turn = self.line.lock().await;
        loop {
            match self.pause() {
                None => return Permit { probe: None },
                Some(Duration::ZERO) => return Permit { probe: Some(turn) },
                Some(pause) => tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.closed.notified() => {}
                },
            }
        }
    }

    /// Whether `pass` still holds: it may have been given before the circuit opened.
    pub fn is_valid(&self, pass: &Permit<'_>) -> bool {
        pass.probe.is_some() || self.pause().is_none()
    }

    /// An attempt went like this; whether a failure is the target's rather than the
    /// event's. `jitter` is a fresh random number from 0 to 1.
    pub fn note(&self, pass: &Permit<'_>, result: &Result<(), ActionError>, jitter: f64) -> bool {
        let (what, reason, asked) = match result {
            // A target that refuses works.
            Ok(()) | Err(ActionError::Permanent { .. }) => {
                self.close();
                return false;
            }
            Err(ActionError::Unreachable { reason }) => ("cannot be reached", reason, None),
            Err(ActionError::Retryable {
                reason,
                retry_after,
            }) => ("keeps failing", reason, *retry_after),
        };
        let reachable = !matches!(result, Err(ActionError::Unreachable { .. }));
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let was_open = state.open.is_some();
        if !was_open && reachable && state.failures < FAILURES_TO_OPEN {
            return false;
        }
        if !was_open || pass.probe.is_some() {
            let open = state.open.get_or_insert_with(|| Open {
                until: Duration::ZERO,
                backoffs: self.patience.backoffs(),
            });
            // Never less than half: to come back at once is no pause.
            let pause = self.patience.next(&mut open.backoffs);
            let pause = pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
            let asked = asked.unwrap_or_default().min(LONGEST_PAUSE);
            open.until = self.clock.elapsed() + pause.max(asked);
        }
        drop(state);
        let reason = format!("its target {what}: {reason}");
        self.health.set_not_ready(self.condition.clone(), &reason);
        if !was_open {
            self.metrics.circuit_open(self.action.as_str(), true);
            tracing::warn!(action = %self.action, reason, "circuit open: events wait");
        }
        true
    }

    /// The target works, or nobody here waits for it any more.
    pub fn close(&self) {
        let was_open = {
            let mut state = self.state();
            state.failures = 0;
            state.open.take().is_some()
        };
        if was_open {
            self.closed.notify_one();
            self.health.set_ready(&self.condition);
            self.metrics.circuit_open(self.action.as_str(), false);
            tracing::info!(action = %self.action, "circuit closed: events no longer wait");
        }
    }

    /// How long nobody may try, if it is open.
    fn pause(&self) -> Option<Duration> {
        let state = self.state();
        let open = state.open.as_ref()?;
        Some(open.until.saturating_sub(self.clock.elapsed()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
