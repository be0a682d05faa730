//! Selection of the actions that run for an event.

use std::sync::Arc;

use rdkafka::Message;

use super::action::named::NamedAction;
use super::event::TriggerEvent;
use super::in_flight::InFlight;
use crate::kafka::headers;
use crate::wire::dead_letter::REDRIVE_ACTIONS;

/// The actions to run for an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionSelection {
    /// Indexes into the actions file.
    pub known: Vec<usize>,
    /// Names that the actions file does not have.
    pub unknown: Vec<String>,
}

impl ActionSelection {
    /// Selects by the redrive header if the event has one, otherwise by its policy.
    ///
    /// `of_policy` returns the action names of a policy, or `None` for all actions. Actions
    /// that a policy names run only on their own triggers and reasons; redriven ones always run.
    #[must_use]
    pub fn of<'a>(
        in_flight: &InFlight,
        actions: &(impl Iterator<Item = &'a NamedAction> + Clone),
        of_policy: impl FnOnce(&str) -> Option<Arc<[String]>>,
    ) -> Self {
        let reason = in_flight.event.as_ref().ok().map(TriggerEvent::reason);
        let matches = |action: &NamedAction| action.runs_for(in_flight.trigger, reason);
        if let Some(names) = redriven_actions(in_flight) {
            return Self::by_name(names.split(','), actions, |_| true);
        }
        let policy = in_flight.event.as_ref().ok();
        let policy = policy.map(|event| event.policy().name.as_str());
        match policy.and_then(of_policy) {
            Some(names) => Self::by_name(names.iter().map(String::as_str), actions, matches),
            None => Self {
                known: actions
                    .clone()
                    .enumerate()
                    .filter(|(_, action)| matches(action))
                    .map(|(index, _)| index)
                    .collect(),
                unknown: Vec::new(),
            },
        }
    }

    fn by_name<'a, 'b>(
        names: impl Iterator<Item = &'b str>,
        actions: &(impl Iterator<Item = &'a NamedAction> + Clone),
        matches: impl Fn(&NamedAction) -> bool,
    ) -> Self {
        let mut selection = Self::default();
        for name in names.filter(|name| !name.is_empty()) {
            let mut candidates = actions.clone().enumerate();
            match candidates.find(|(_, action)| action.name.as_str() == name) {
                Some((index, action)) if matches(action) && !selection.known.contains(&index) => {
                    selection.known.push(index);
                }
                Some(_) => {}
                None => selection.unknown.push(name.to_owned()),
            }
        }
        selection
    }
}

/// The actions for which a redrive has brought the event back.
fn redriven_actions(in_flight: &InFlight) -> Option<&str> {
    let value = headers::find(in_flight.record.headers(), REDRIVE_ACTIONS)?;
    str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests;
