//! Runs one action for one event: attempts, retries and the circuit breaker.

use std::time::Duration;

use rdkafka::Message;
use tokio::sync::Semaphore;

use super::action::ActionInput;
use super::action::error::ActionError;
use super::action::named::NamedAction;
use super::circuit_breaker::{CircuitBreaker, FailureHistory};
use super::dead_letters::{FailedAction, FailureReason};
use super::in_flight::InFlight;
use super::retry::{RetryDecision, RetryPolicy};
use crate::clock::Clock;
use crate::handler::metrics::{ActionResult, AttemptResult, HandlerMetrics};

/// An action of the actions file with everything that its runs share.
#[derive(Debug)]
pub struct ActionRunner {
    pub named: NamedAction,
    /// The circuit breaker of the action's target.
    pub circuit: CircuitBreaker,
    pub retry: RetryPolicy,
    /// One permit for each attempt under way. Waiting for a retry takes none.
    pub slots: Semaphore,
    pub metrics: HandlerMetrics,
    pub clock: Clock,
}

/// The end of an action's run for an event.
pub enum ActionOutcome {
    Succeeded,
    Failed(FailedAction),
    /// The partition was released first.
    Cancelled,
}

enum AttemptOutcome {
    Succeeded,
    Failed {
        error: ActionError,
        /// Whether the target alone is at fault, so that the failure does not count for the
        /// event.
        exempt: bool,
    },
    Cancelled,
}

impl ActionOutcome {
    /// The outcome as metrics label it.
    #[must_use]
    pub fn result(&self) -> ActionResult {
        match self {
            Self::Succeeded => ActionResult::Done,
            Self::Cancelled => ActionResult::Cancelled,
            Self::Failed(failed) => match failed.reason {
                FailureReason::Malformed | FailureReason::Refused => ActionResult::Refused,
                FailureReason::Exhausted => ActionResult::Exhausted,
            },
        }
    }
}

impl ActionRunner {
    /// Runs the action until it succeeds, fails for good or is cancelled.
    pub async fn run_action(&self, in_flight: &InFlight) -> ActionOutcome {
        let Some(input) = in_flight.action_input() else {
            return ActionOutcome::Succeeded;
        };
        let name = self.named.name.as_str();
        let mut retries = self.retry.start();
        let mut history = FailureHistory::default();
        loop {
            if input.event.is_outdated(self.clock.wall()) {
                return ActionOutcome::Failed(FailedAction::outdated(name, retries.attempts()));
            }
            let (error, exempt) = match self.attempt(in_flight, input, &mut history).await {
                AttemptOutcome::Succeeded => return ActionOutcome::Succeeded,
                AttemptOutcome::Failed { error, exempt } => (error, exempt),
                AttemptOutcome::Cancelled => {
                    self.circuit.close();
                    return ActionOutcome::Cancelled;
                }
            };
            let decision = if exempt {
                retries.exempt();
                // The circuit breaker delays the next attempt.
                RetryDecision::RetryAfter(Duration::ZERO)
            } else {
                retries.decide(&error, self.clock.elapsed(), rand::random())
            };
            tracing::debug!(
                action = name,
                event_id = %input.event.id(),
                %error,
                ?decision,
                "attempt failed"
            );
            let reason = match decision {
                RetryDecision::Refused => FailureReason::Refused,
                RetryDecision::Exhausted => FailureReason::Exhausted,
                RetryDecision::RetryAfter(wait) if in_flight.sleep(wait).await => continue,
                RetryDecision::RetryAfter(_) => {
                    self.circuit.close();
                    return ActionOutcome::Cancelled;
                }
            };
            return ActionOutcome::Failed(FailedAction {
                action: name.to_owned(),
                reason,
                error: error.to_string(),
                attempts: retries.attempts(),
            });
        }
    }

    /// Makes one attempt, or none if the event is cancelled before its turn. A started attempt
    /// is not aborted: it would be unknown whether it has reached its target.
    async fn attempt(
        &self,
        in_flight: &InFlight,
        input: ActionInput<'_>,
        history: &mut FailureHistory,
    ) -> AttemptOutcome {
        let offset = in_flight.record.offset();
        let turn = async {
            loop {
                let permit = self.circuit.acquire().await;
                // The semaphore is never closed.
                let slot = self.slots.acquire().await.ok()?;
                if self.circuit.is_valid(&permit) {
                    return Some((permit, slot));
                }
            }
        };
        let turn = tokio::select! {
            biased;
            () = in_flight.lease.expired(offset) => None,
            turn = turn => turn,
        };
        let Some((permit, slot)) = turn.filter(|_| in_flight.lease.begin(offset)) else {
            return AttemptOutcome::Cancelled;
        };
        let started = self.clock.elapsed();
        let result = self.named.action.run(input).await;
        let took = self.clock.elapsed().saturating_sub(started);
        drop(slot);
        let name = self.named.name.as_str();
        let label = AttemptResult::from(&result);
        self.metrics.observe_attempt(name, label, took);
        let jitter = rand::random();
        let exempt = self.circuit.record(&permit, &result, history, jitter);
        match result {
            Ok(()) => AttemptOutcome::Succeeded,
            Err(error) => AttemptOutcome::Failed { error, exempt },
        }
    }
}
