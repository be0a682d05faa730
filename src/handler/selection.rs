//! Which actions an event asks for.

use std::sync::Arc;

use rdkafka::Message;
use rdkafka::message::Headers;

use super::action::named::NamedAction;
use super::work::Work;
use crate::wire::dead_letter::REDRIVE_ACTIONS;

/// The names of the actions that a policy asks for; `None` for all.
pub type ActionsOfPolicy = dyn Fn(&str) -> Option<Arc<[String]>> + Send + Sync;

/// The actions that an event asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those that there are, by index.
    pub known: Vec<usize>,
    /// The names of those that there are not.
    pub unknown: Vec<String>,
}

impl Selection {
    /// A redriven event asks for what was left undone, any other for what its policy
    /// names, as far as that runs on such triggers.
    #[must_use]
    pub fn of<'a>(
        work: &Work,
        actions: &(impl Iterator<Item = &'a NamedAction> + Clone),
        actions_of: &ActionsOfPolicy,
    ) -> Self {
        let fits = |action: &NamedAction| action.on.include(work.trigger);
        if let Some(names) = redriven(work) {
            return Self::by_name(names.split(','), actions, |_| true);
        }
        let policy = work.event.as_ref().ok().map(|event| &event.policy().name);
        match policy.and_then(|policy| actions_of(policy)) {
            Some(names) => Self::by_name(names.iter().map(String::as_str), actions, fits),
            None => Self {
                known: actions
                    .clone()
                    .enumerate()
                    .filter(|(_, action)| fits(action))
                    .map(|(index, _)| index)
                    .collect(),
                unknown: Vec::new(),
            },
        }
    }

    fn by_name<'a, 'b>(
        names: impl Iterator<Item = &'b str>,
        actions: &(impl Iterator<Item = &'a NamedAction> + Clone),
        fits: impl Fn(&NamedAction) -> bool,
    ) -> Self {
        let mut selection = Self::default();
        for name in names.filter(|name| !name.is_empty()) {
            let mut named = actions.clone().enumerate();
            match named.find(|(_, action)| action.name.as_str() == name) {
                Some((index, action)) if fits(action) && !selection.known.contains(&index) => {
                    selection.known.push(index);
                }
                Some(_) => {}
                None => selection.unknown.push(name.to_owned()),
            }
        }
        selection
    }
}

/// What the event was brought back from the dead-letter topic for.
fn redriven(work: &Work) -> Option<&str> {
    let headers = work.record.headers()?;
    let header = headers
        .iter()
        .find(|header| header.key == REDRIVE_ACTIONS)?;
    str::from_utf8(header.value?).ok()
}

#[cfg(test)]
mod tests;
