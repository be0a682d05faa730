//! One event from start to finish: its actions, their retries, or else its dead letter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::action::Delivery;
use super::action::error::ActionError;
use super::action::named::NamedAction;
use super::circuit_breaker::CircuitBreaker;
use super::dead_letters::{Cancelled, DeadLetters, FailedAction, FailedEvent, Reason};
use super::event::Event;
use super::retry::{RetryPolicy, Verdict};
use super::selection::{ActionsOfPolicy, Selection};
use super::work::Work;
use crate::clock::Clock;
use crate::handler::metrics::{ActionResult, AttemptResult, EventResult, HandlerMetrics};
use crate::wire::time;

/// Does what has to be done about events.
pub struct Worker {
    /// The actions of this deployment.
    pub stations: Arc<[ActionRunner]>,
    /// How patient to be with each of them.
    pub retry: RetryPolicy,
    /// A place for each attempt under way; those that wait for their next one take none.
    pub slots: Arc<Semaphore>,
    /// Which actions policies ask for.
    pub actions_of: Arc<ActionsOfPolicy>,
    /// Where events go that nobody could finish; warnings go nowhere.
    pub dead_letters: Option<DeadLetters>,
    /// What is counted.
    pub metrics: HandlerMetrics,
    /// Times attempts and retries.
    pub clock: Clock,
}

/// An action and what is known of its target.
#[derive(Debug)]
pub struct ActionRunner {
    /// The action.
    pub named: NamedAction,
    /// Whether its target works.
    pub circuit: CircuitBreaker,
}

/// How an action ended on an event.
enum Outcome {
    Done,
    FailedAction(FailedAction),
    /// Given back before it came to an end.
    Cancelled,
}

/// How an attempt went.
struct Attempted {
    result: Result<(), ActionError>,
    /// Whether a failure is the target's, not the event's.
    targets_fault: bool,
}

impl Worker {
    /// Does everything about an event. Whether it is finished: its actions have succeeded,
    /// or there is nothing more to be done about it.
    pub async fn finish(self: &Arc<Self>, work: &Arc<Work>) -> bool {
        let result = self.conclude(work).await;
        let result = result.unwrap_or(EventResult::Cancelled);
        self.metrics.event(work.trigger, result);
        let finished = result != EventResult::Cancelled;
        if finished && let Some(age) = work.age(self.clock.wall()) {
            self.metrics.age(work.trigger, age);
        }
        finished
    }

    async fn conclude(self: &Arc<Self>, work: &Arc<Work>) -> Result<EventResult, Cancelled> {
        let actions = self.stations.iter().map(|runner| &runner.named);
        let selection = Selection::of(work, &actions, self.actions_of.as_ref());
        if let Ok(event) = &work.event
            && self.is_too_late(event)
        {
            return Ok(EventResult::Dropped);
        }
        let letter = match &work.event {
            Ok(_) => self.act(work, selection).await?,
            Err(malformed) => {
                let names = selection.known.iter().map(|&index| self.name(index));
                Some(FailedEvent::malformed(malformed, names))
            }
        };
        match (letter, &self.dead_letters) {
            (None, _) => Ok(EventResult::Done),
            (Some(letter), Some(dead_letters)) => {
                dead_letters.write(work, &letter).await?;
                Ok(EventResult::DeadLettered)
            }
            (Some(letter), None) => {
                tracing::warn!(?letter, "a warning was dropped");
                Ok(EventResult::Dropped)
            }
        }
    }

    /// Runs the actions side by side, each with retries of its own: what is done is not
    /// done again because something else is not. The letter names those that were given up.
    async fn act(
        self: &Arc<Self>,
        work: &Arc<Work>,
        selection: Selection,
    ) -> Result<Option<FailedEvent>, Cancelled> {
        let mut outcomes = BTreeMap::new();
        let mut running = JoinSet::new();
        for index in selection.known {
            // Stands if the task panics, and never says anything else.
            outcomes.insert(
                index,
                Outcome::FailedAction(FailedAction::panicked(self.name(index))),
            );
            let (worker, work) = (Arc::clone(self), Arc::clone(work));
            running.spawn(async move { (index, worker.see_through(index, &work).await) });
        }
        while let Some(joined) = running.join_next().await {
            if let Ok((index, outcome)) = joined {
                outcomes.insert(index, outcome);
            }
        }
        let mut given_up = Vec::new();
        for outcome in outcomes.into_values() {
            match outcome {
                Outcome::Done => {}
                Outcome::FailedAction(action) => given_up.push(action),
                Outcome::Cancelled => return Err(Cancelled),
            }
        }
        given_up.extend(
            selection
                .unknown
                .iter()
                .map(|name| FailedAction::unknown(name)),
        );
        Ok(FailedEvent::given_up(&given_up))
    }

    /// Runs one action to its end, and counts how it ended.
    async fn see_through(&self, index: usize, work: &Work) -> Outcome {
        let outcome = self.persist(index, work).await;
        let result = match &outcome {
            Outcome::Done => ActionResult::Done,
            Outcome::Cancelled => ActionResult::Cancelled,
            Outcome::FailedAction(given_up) => match given_up.reason {
                Reason::Malformed | Reason::Refused => ActionResult::Refused,
                Reason::Exhausted => ActionResult::Exhausted,
            },
        };
        self.metrics.action(self.name(index), result);
        outcome
    }

    /// Runs one action until it succeeds, is given up or is released.
    async fn persist(&self, index: usize, work: &Work) -> Outcome {
        let runner = &self.stations[index];
        let Some(delivery) = work.delivery() else {
            return Outcome::Done;
        };
        let mut retries = self.retry.start();
        loop {
            if self.is_too_late(delivery.event) {
                return Outcome::FailedAction(FailedAction::too_late(
                    self.name(index),
                    retries.tried(),
                ));
            }
            let Some(attempted) = self.attempt(runner, work, delivery).await else {
                runner.circuit.close();
                return Outcome::Cancelled;
            };
            let Err(error) = attempted.result else {
                return Outcome::Done;
            };
            let verdict = if attempted.targets_fault {
                retries.exempt();
                // The circuit sets the pace.
                Verdict::Again(Duration::ZERO)
            } else {
                retries.after(&error, self.clock.elapsed(), rand::random())
            };
            tracing::debug!(
                action = %runner.named.name,
                event_id = %delivery.event.id(),
                %error,
                ?verdict,
                "attempt failed"
            );
            let reason = match verdict {
                Verdict::Refused => Reason::Refused,
                Verdict::Exhausted => Reason::Exhausted,
                Verdict::Again(wait) if work.pause(wait).await => continue,
                Verdict::Again(_) => {
                    runner.circuit.close();
                    return Outcome::Cancelled;
                }
            };
            return Outcome::FailedAction(FailedAction {
                action: self.name(index).to_owned(),
                reason,
                error: error.to_string(),
                attempts: retries.tried(),
            });
        }
    }

    /// One attempt; none if the event is released before its turn comes. An attempt under
    /// way is not broken off: whether it has reached its target would be anybody's guess.
    async fn attempt(
        &self,
        runner: &ActionRunner,
        work: &Work,
        delivery: Delivery<'_>,
    ) -> Option<Attempted> {
        let offset = work.in_flight.offset;
        let turn = async {
            loop {
                let pass = runner.circuit.admit().await;
                // Never closed.
                let slot = self.slots.acquire().await.ok()?;
                if runner.circuit.is_valid(&pass) {
                    return Some((pass, slot));
                }
            }
        };
        let (pass, slot) = tokio::select! {
            biased;
            () = work.lease.lost(offset) => return None,
            turn = turn => turn?,
        };
        if !work.lease.begin(offset) {
            return None;
        }
        let begun = self.clock.elapsed();
        let result = runner.named.action.run(delivery).await;
        let took = self.clock.elapsed().saturating_sub(begun);
        drop(slot);
        let label = match &result {
            Ok(()) => AttemptResult::Ok,
            Err(ActionError::Retryable { .. }) => AttemptResult::Retryable,
            Err(ActionError::Permanent { .. }) => AttemptResult::Permanent,
            Err(ActionError::Unreachable { .. }) => AttemptResult::Unreachable,
        };
        self.metrics
            .attempt(runner.named.name.as_str(), label, took);
        let targets_fault = runner.circuit.note(&pass, &result, rand::random());
        Some(Attempted {
            result,
            targets_fault,
        })
    }

    /// A warning of what has happened by now.
    fn is_too_late(&self, event: &Event) -> bool {
        match event {
            Event::Ended(_) => false,
            Event::Expiring(event) => {
                time::parse(&event.expires_at).is_some_and(|at| at <= self.clock.wall())
            }
        }
    }

    fn name(&self, index: usize) -> &str {
        self.stations[index].named.name.as_str()
    }
}

#[cfg(test)]
mod tests;
