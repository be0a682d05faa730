//! One event from start to finish: its actions, their retries, or else its dead letter.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::action::{ActionError, Delivery};
use super::config::NamedAction;
use super::dead_letters::{DeadLetters, GivenUp, Letter, Reason, Released};
use super::reachability::Reachability;
use super::retry::{RetryPolicy, Verdict};
use super::work::Work;
use crate::clock::Clock;
use crate::metrics::handler::{AttemptResult, EventResult, HandlerMetrics};

/// Does what has to be done about events.
pub struct Worker {
    /// The actions of this deployment.
    pub stations: Vec<Station>,
    /// How patient to be with each of them.
    pub retry: RetryPolicy,
    /// A place for each attempt under way; those that wait for their next one take none.
    pub slots: Semaphore,
    /// Where events go that nobody could finish.
    pub dead_letters: DeadLetters,
    /// What is counted.
    pub metrics: HandlerMetrics,
    /// Times attempts and retries.
    pub clock: Clock,
}

/// An action and what is known of its target.
#[derive(Debug)]
pub struct Station {
    /// The action.
    pub named: NamedAction,
    /// Whether its target can be reached.
    pub reachability: Reachability,
}

/// How an action ended on an event.
enum Outcome {
    Done,
    GivenUp(GivenUp),
    /// Given back before it came to an end.
    Released,
}

impl Worker {
    /// Does everything about an event. Whether it is finished: its actions have succeeded,
    /// or it is in the dead-letter topic.
    pub async fn finish(self: &Arc<Self>, work: &Arc<Work>) -> bool {
        let result = self.conclude(work).await;
        let result = result.unwrap_or(EventResult::Released);
        self.metrics.event(result);
        result != EventResult::Released
    }

    async fn conclude(self: &Arc<Self>, work: &Arc<Work>) -> Result<EventResult, Released> {
        let letter = match &work.event {
            Ok(_) => self.act(work).await?,
            Err(malformed) => {
                let names = self.selection(work).map(|index| self.name(index));
                Some(Letter::malformed(malformed, names))
            }
        };
        let Some(letter) = letter else {
            return Ok(EventResult::Done);
        };
        self.dead_letters.write(work, &letter).await?;
        Ok(EventResult::DeadLettered)
    }

    /// Which actions an event asks for, by index: all of them.
    fn selection(&self, _work: &Work) -> impl Iterator<Item = usize> {
        0..self.stations.len()
    }

    /// Runs the actions side by side, each with retries of its own: what is done is not
    /// done again because something else is not. The letter names those that were given up.
    async fn act(self: &Arc<Self>, work: &Arc<Work>) -> Result<Option<Letter>, Released> {
        let mut outcomes = BTreeMap::new();
        let mut running = JoinSet::new();
        for index in self.selection(work) {
            // Stands if the task panics, and never says anything else.
            outcomes.insert(index, Outcome::GivenUp(GivenUp::panicked(self.name(index))));
            let (worker, work) = (Arc::clone(self), Arc::clone(work));
            running.spawn(async move { (index, worker.persist(index, &work).await) });
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
                Outcome::GivenUp(action) => given_up.push(action),
                Outcome::Released => return Err(Released),
            }
        }
        Ok(Letter::given_up(&given_up))
    }

    /// Runs one action until it succeeds, is given up or is released.
    async fn persist(&self, index: usize, work: &Work) -> Outcome {
        let station = &self.stations[index];
        let Some(delivery) = work.delivery() else {
            return Outcome::Done;
        };
        let mut retries = self.retry.start();
        loop {
            let Some(result) = self.attempt(station, work, delivery).await else {
                return Outcome::Released;
            };
            let Err(error) = result else {
                return Outcome::Done;
            };
            let verdict = retries.after(&error, self.clock.elapsed(), rand::random());
            tracing::debug!(
                action = %station.named.name,
                event_id = %delivery.event.event_id,
                %error,
                ?verdict,
                "attempt failed"
            );
            let reason = match verdict {
                Verdict::Refused => Reason::Refused,
                Verdict::Exhausted => Reason::Exhausted,
                Verdict::Again(wait) if work.pause(wait).await => continue,
                Verdict::Again(_) => {
                    station.reachability.clear();
                    return Outcome::Released;
                }
            };
            return Outcome::GivenUp(GivenUp {
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
        station: &Station,
        work: &Work,
        delivery: Delivery<'_>,
    ) -> Option<Result<(), ActionError>> {
        let offset = work.ticket.offset;
        let slot = tokio::select! {
            biased;
            () = work.claim.lost(offset) => return None,
            // Never closed.
            slot = self.slots.acquire() => slot.ok()?,
        };
        if !work.claim.begin(offset) {
            return None;
        }
        let begun = self.clock.elapsed();
        let result = station.named.action.run(delivery).await;
        let took = self.clock.elapsed().saturating_sub(begun);
        drop(slot);
        let label = match &result {
            Ok(()) => AttemptResult::Ok,
            Err(ActionError::Retryable { .. }) => AttemptResult::Retryable,
            Err(ActionError::Permanent { .. }) => AttemptResult::Permanent,
            Err(ActionError::Unreachable { .. }) => AttemptResult::Unreachable,
        };
        self.metrics
            .attempt(station.named.name.as_str(), label, took);
        station.reachability.note(&result);
        Some(result)
    }

    fn name(&self, index: usize) -> &str {
        self.stations[index].named.name.as_str()
    }
}

#[cfg(test)]
mod tests;
