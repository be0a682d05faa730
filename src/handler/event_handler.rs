//! Handles one event in one role: checks it, or runs one action for it. What fails for good is
//! dead-lettered.

use std::sync::Arc;

use super::action_runner::{ActionOutcome, ActionRunner};
use super::dead_letters::{Cancelled, DeadLetterWriter, FailedAction, FailedEvent};
use super::event::Trigger;
use super::in_flight::InFlight;
use super::policies::PolicyActions;
use super::selection::ActionSelection;
use crate::clock::Clock;
use crate::handler::action::named::NamedAction;
use crate::handler::metrics::{EventResult, HandlerMetrics, NO_ACTION};
use crate::panics;

/// Handles the events of one consumer.
pub struct EventHandler {
    /// The action to run, as an index into `actions`; `None` to check events.
    pub run: Option<(usize, Arc<ActionRunner>)>,
    /// The actions of the actions file.
    pub actions: Arc<[NamedAction]>,
    pub policies: PolicyActions,
    pub dead_letters: Arc<DeadLetterWriter>,
    pub metrics: HandlerMetrics,
    pub clock: Clock,
}

/// What an event needs.
#[derive(Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: the event is well-formed, or the action does not run for it.
    Nothing(EventResult),
    /// The action has to run.
    Run,
    /// The event has to be dead-lettered without an attempt.
    GiveUp(FailedEvent),
}

impl EventHandler {
    /// Decides what an event needs.
    #[must_use]
    pub fn need(&self, in_flight: &InFlight) -> Need {
        let actions = self.actions.iter();
        let of_policy = |policy: &str| self.policies.actions_of(policy);
        let selection = ActionSelection::of(in_flight, &actions, of_policy);
        match (&self.run, &in_flight.event) {
            (Some((index, _)), Ok(event)) => {
                if !selection.known.contains(index) {
                    Need::Nothing(EventResult::Skipped)
                } else if event.is_outdated(self.clock.wall()) {
                    Need::Nothing(EventResult::Dropped)
                } else {
                    Need::Run
                }
            }
            // The consumer that checks events dead-letters it, once for all actions.
            (Some(_), Err(_)) if in_flight.trigger == Trigger::Ending => {
                Need::Nothing(EventResult::Skipped)
            }
            (Some(_), Err(_)) => Need::Nothing(EventResult::Dropped),
            (None, Ok(_)) => {
                let unknown = selection.unknown.iter();
                let failed: Vec<_> = unknown.map(|name| FailedAction::unknown(name)).collect();
                match FailedEvent::of(&failed) {
                    Some(failed) => Need::GiveUp(failed),
                    None => Need::Nothing(EventResult::Done),
                }
            }
            (None, Err(error)) => {
                let names = selection.known.iter();
                let names = names.map(|&index| self.actions[index].name.as_str());
                Need::GiveUp(FailedEvent::malformed(error, names))
            }
        }
    }

    /// Handles an event. Returns false if it was cancelled; otherwise its offset may be
    /// committed.
    pub async fn handle(&self, in_flight: &Arc<InFlight>, need: Need) -> bool {
        let result = match need {
            Need::Nothing(result) => result,
            Need::Run => self.run_action(in_flight).await,
            Need::GiveUp(failed) => self.give_up(in_flight, &failed).await,
        };
        self.finish(in_flight, result)
    }

    /// Counts the end of an event. Returns whether its offset may be committed.
    pub fn finish(&self, in_flight: &InFlight, result: EventResult) -> bool {
        let (action, trigger) = (self.label(), in_flight.trigger);
        self.metrics.count_event(action, trigger, result);
        let finished = result != EventResult::Cancelled;
        if finished
            && result != EventResult::Skipped
            && self.run.is_some()
            && let Some(age) = in_flight.age(self.clock.wall())
        {
            self.metrics.observe_event_age(action, trigger, age);
        }
        finished
    }

    async fn run_action(&self, in_flight: &Arc<InFlight>) -> EventResult {
        let Some((_, runner)) = &self.run else {
            return EventResult::Done;
        };
        let (task, event) = (Arc::clone(runner), Arc::clone(in_flight));
        let action = async move { task.run_action(&event).await };
        let running = tokio::spawn(panics::reported(action));
        let panicked = |_| ActionOutcome::Failed(FailedAction::panicked(self.label()));
        let outcome = running.await.unwrap_or_else(panicked);
        self.metrics.count_action(self.label(), outcome.result());
        match outcome {
            ActionOutcome::Succeeded => EventResult::Done,
            ActionOutcome::Cancelled => EventResult::Cancelled,
            ActionOutcome::Failed(failed) => match FailedEvent::of(&[failed]) {
                Some(failed) => self.give_up(in_flight, &failed).await,
                None => EventResult::Done,
            },
        }
    }

    /// Writes the dead letter of an ending; drops a warning.
    async fn give_up(&self, in_flight: &InFlight, failed: &FailedEvent) -> EventResult {
        if in_flight.trigger == Trigger::Warning {
            tracing::warn!(?failed, "warning dropped: its action failed");
            return EventResult::Dropped;
        }
        match self.dead_letters.write(in_flight, failed).await {
            Ok(()) => {
                self.metrics
                    .count_dead_letter(self.label(), failed.reason());
                EventResult::DeadLettered
            }
            Err(Cancelled) => EventResult::Cancelled,
        }
    }

    fn label(&self) -> &str {
        match &self.run {
            Some((_, runner)) => runner.named.name.as_str(),
            None => NO_ACTION,
        }
    }
}

#[cfg(test)]
mod tests;
