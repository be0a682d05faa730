//! Runs the actions of one event, and dead-letters the event if actions fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::action_runner::{ActionOutcome, ActionRunner};
use super::dead_letters::{Cancelled, DeadLetterWriter, FailedAction, FailedEvent};
use super::in_flight::InFlight;
use super::policies::PolicyActions;
use super::selection::ActionSelection;
use crate::clock::Clock;
use crate::handler::metrics::{EventResult, HandlerMetrics};

/// Handles the events of one topic.
pub struct EventHandler {
    /// One for each action of the actions file, in its order.
    pub runners: Arc<[ActionRunner]>,
    pub policies: PolicyActions,
    /// `None` for warnings, which are dropped instead.
    pub dead_letters: Option<DeadLetterWriter>,
    pub metrics: HandlerMetrics,
    pub clock: Clock,
}

impl EventHandler {
    /// Handles one event. Returns false if it was cancelled; otherwise its offset may be
    /// committed.
    pub async fn handle(&self, in_flight: &Arc<InFlight>) -> bool {
        let result = match &in_flight.event {
            Ok(event) if event.is_outdated(self.clock.wall()) => EventResult::Dropped,
            _ => match self.run_actions(in_flight).await {
                Ok(None) => EventResult::Done,
                Ok(Some(failed)) => self.give_up(in_flight, &failed).await,
                Err(Cancelled) => EventResult::Cancelled,
            },
        };
        self.metrics.count_event(in_flight.trigger, result);
        let finished = result != EventResult::Cancelled;
        if finished && let Some(age) = in_flight.age(self.clock.wall()) {
            self.metrics.observe_event_age(in_flight.trigger, age);
        }
        finished
    }

    /// Runs the actions concurrently, each with its own retries, so that no action repeats
    /// because another one fails. Returns the failed actions, `None` if there are none.
    async fn run_actions(
        &self,
        in_flight: &Arc<InFlight>,
    ) -> Result<Option<FailedEvent>, Cancelled> {
        let actions = self.runners.iter().map(|runner| &runner.named);
        let of_policy = |policy: &str| self.policies.actions_of(policy);
        let selection = ActionSelection::of(in_flight, &actions, of_policy);
        if let Err(error) = &in_flight.event {
            let names = selection.known.iter().map(|&index| self.name(index));
            return Ok(Some(FailedEvent::malformed(error, names)));
        }
        let mut outcomes = BTreeMap::new();
        let mut running = JoinSet::new();
        for index in selection.known {
            // The outcome of a task that panics.
            let panicked = FailedAction::panicked(self.name(index));
            outcomes.insert(index, ActionOutcome::Failed(panicked));
            let (runners, in_flight) = (Arc::clone(&self.runners), Arc::clone(in_flight));
            running.spawn(async move { (index, runners[index].run_action(&in_flight).await) });
        }
        while let Some(joined) = running.join_next().await {
            if let Ok((index, outcome)) = joined {
                let result = outcome.result();
                self.metrics.count_action(self.name(index), result);
                outcomes.insert(index, outcome);
            }
        }
        let mut failed = Vec::new();
        for outcome in outcomes.into_values() {
            match outcome {
                ActionOutcome::Succeeded => {}
                ActionOutcome::Failed(action) => failed.push(action),
                ActionOutcome::Cancelled => return Err(Cancelled),
            }
        }
        let unknown = selection.unknown.iter();
        failed.extend(unknown.map(|name| FailedAction::unknown(name)));
        Ok(FailedEvent::of(&failed))
    }

    /// Writes the dead letter of an ending; drops a warning.
    async fn give_up(&self, in_flight: &InFlight, failed: &FailedEvent) -> EventResult {
        let Some(dead_letters) = &self.dead_letters else {
            tracing::warn!(?failed, "warning dropped: its actions failed");
            return EventResult::Dropped;
        };
        match dead_letters.write(in_flight, failed).await {
            Ok(()) => EventResult::DeadLettered,
            Err(Cancelled) => EventResult::Cancelled,
        }
    }

    fn name(&self, index: usize) -> &str {
        self.runners[index].named.name.as_str()
    }
}

#[cfg(test)]
mod tests;
