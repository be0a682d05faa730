//! The brake on mass endings: changes of policies that would end a large share of the live sessions
//! within a minute wait for a confirmation.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::ResourceExt;
use kube::api::DynamicObject;

use super::published::PublishedRecords;
use super::validate::{Rejection, Validation};
use crate::policy::record::{PolicyRecord, decode};
use crate::session::Policy;
use crate::session_lookup::PolicyChanges;
use crate::session_lookup::owners::TrackerEndpoint;
use crate::session_lookup::search::{MassEnding, Searcher};

/// The annotation that confirms a generation of a policy.
pub const CONFIRMATION: &str = "sundown.dev/confirm-mass-ending";
/// A change that ends fewer sessions is never held.
const MIN_ENDINGS: u64 = 1_000;
/// Interval at which the endings of held changes are counted again.
const RECOUNT_INTERVAL: Duration = Duration::from_secs(10);
/// The same while no tracker can count them, as while all of them restore their partitions.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Holds changes of policies.
pub struct Brake {
    searcher: Searcher,
    /// The largest share of the live sessions that changes may end, in percent.
    max_percent: u8,
    held: BTreeMap<String, Held>,
}

/// A change that waits.
struct Held {
    /// The value that is not published.
    value: String,
    rejection: Rejection,
    /// Whether a tracker has counted its endings.
    counted: bool,
    /// When they are counted again, on the clock.
    due: Duration,
}

impl Brake {
    #[must_use]
    pub fn new(searcher: Searcher, max_percent: u8) -> Self {
        Self {
            searcher,
            max_percent,
            held: BTreeMap::new(),
        }
    }

    /// Rejects those changes among `names`, which can end sessions, that would end too many. Without
    /// a tracker there is no session to count, and none is rejected.
    pub async fn hold<Spec>(
        &mut self,
        mut names: Vec<String>,
        validation: &mut Validation<Spec>,
        objects: &BTreeMap<String, DynamicObject>,
        trackers: &[TrackerEndpoint],
        now: Duration,
    ) {
        names.retain(|name| !objects.get(name).is_some_and(is_confirmed));
        self.held.retain(|name, _| names.contains(name));
        if names.is_empty() || trackers.is_empty() || self.max_percent >= 100 {
            self.held.clear();
            return;
        }
        let value = |name: &String| validation.valid.get(name).map(|valid| valid.value.clone());
        let is_recent = |name: &String| {
            let held = self.held.get(name);
            held.is_some_and(|held| Some(&held.value) == value(name).as_ref() && now < held.due)
        };
        if !names.iter().all(is_recent) {
            let changes = names.iter().map(|name| (name.clone(), value(name)));
            self.count(changes.collect(), objects, trackers, now).await;
        }
        for (name, held) in &self.held {
            if validation.valid.remove(name).is_some() {
                let rejection = held.rejection.clone();
                validation.rejected.insert(name.clone(), rejection);
            }
        }
    }

    /// Counts the endings of the changes, together and, if they are too many, one by one.
    async fn count(
        &mut self,
        changes: PolicyChanges,
        objects: &BTreeMap<String, DynamicObject>,
        trackers: &[TrackerEndpoint],
        now: Duration,
    ) {
        let before = std::mem::take(&mut self.held);
        let together = self.searcher.count_endings(&changes, trackers).await;
        if !self.exceeds(&together) {
            return;
        }
        for (name, value) in changes {
            let Some(value) = value else { continue };
            let alone = [(name.clone(), Some(value.clone()))].into();
            let alone = self.searcher.count_endings(&alone, trackers).await;
            if alone.counted && alone.ending == 0 {
                continue;
            }
            // The numbers of a change that stays held stay the same, so that its status does.
            let same = before.get(&name);
            let same = same.filter(|held| held.value == value && held.counted == alone.counted);
            let rejection = match same {
                Some(held) => held.rejection.clone(),
                None => {
                    let generation = objects.get(&name).and_then(|one| one.metadata.generation);
                    let rejection = self.rejection(&alone, generation.unwrap_or(1));
                    tracing::warn!(policy = name, reason = %rejection.problem, "holding a change of a policy");
                    rejection
                }
            };
            let interval = if alone.counted {
                RECOUNT_INTERVAL
            } else {
                RETRY_INTERVAL
            };
            let held = Held {
                value,
                rejection,
                counted: alone.counted,
                due: now + interval,
            };
            self.held.insert(name, held);
        }
    }

    fn exceeds(&self, count: &MassEnding) -> bool {
        let share = count.ending.saturating_mul(100) > count.live * u64::from(self.max_percent);
        !count.counted || (count.ending >= MIN_ENDINGS && share)
    }

    fn rejection(&self, count: &MassEnding, generation: i64) -> Rejection {
        let remedy =
            format!("to publish it anyway, set the annotation {CONFIRMATION} to \"{generation}\"");
        let problem = if count.counted {
            format!(
                "this change would end {} of {} live sessions within a minute, and --max-mass-ending is {} %: {remedy}",
                count.ending, count.live, self.max_percent
            )
        } else {
            let gap = count.gaps.first();
            let gap = gap.map_or_else(
                || "the trackers have no partitions yet".to_owned(),
                ToString::to_string,
            );
            format!("the sessions that this change would end cannot be counted: {gap}; {remedy}")
        };
        Rejection {
            reason: "Held",
            problem,
        }
    }
}

fn is_confirmed(object: &DynamicObject) -> bool {
    let confirmed = object.annotations().get(CONFIRMATION);
    let generation = object.metadata.generation.map(|number| number.to_string());
    confirmed.is_some() && confirmed == generation.as_ref()
}

/// The unpublished policies that can end sessions which the published ones do not end: shorter ones,
/// and those that apply to other sessions.
#[must_use]
pub fn can_end_sessions<Spec>(
    validation: &Validation<Spec>,
    published: &PublishedRecords,
) -> Vec<String> {
    let unpublished = validation
        .valid
        .iter()
        .filter(|(name, valid)| !valid.is_published(published.values.get(*name)));
    let changes = unpublished.filter(|(name, valid)| {
        let changed = decode(Some(name.as_bytes()), Some(valid.value.as_bytes()));
        let Ok(PolicyRecord::Active { policy, .. }) = changed else {
            return false;
        };
        let mut active = published.store.policies();
        can_end(active.find(|active| active.name == **name), &policy)
    });
    changes.map(|(name, _)| name.clone()).collect()
}

fn can_end(active: Option<&Policy>, changed: &Policy) -> bool {
    let Some(active) = active else {
        return !changed.suspend;
    };
    if active.matcher != changed.matcher || active.priority != changed.priority {
        return true;
    }
    let shorter = changed.idle_timeout < active.idle_timeout
        || match (active.absolute_timeout, changed.absolute_timeout) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(active), Some(changed)) => changed < active,
        };
    !changed.suspend && (shorter || active.suspend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Glob, Matcher, Span};

    fn policy(idle: i64, absolute: Option<i64>) -> Policy {
        Policy::built_in(Span::from_secs(idle), absolute.map(Span::from_secs))
    }

    #[test]
    fn changes_that_end_no_session_are_not_counted() {
        let active = policy(60, Some(600));
        let suspended = Policy {
            suspend: true,
            ..active.clone()
        };
        let narrower = Policy {
            matcher: Matcher {
                user_ids: vec![Glob::new("svc-*")],
                ..Matcher::default()
            },
            ..active.clone()
        };
        let cases = [
            (Some(&active), policy(61, Some(600)), false),
            (Some(&active), policy(60, None), false),
            (Some(&active), policy(59, None), true),
            (Some(&active), policy(60, Some(599)), true),
            (Some(&active), suspended.clone(), false),
            (Some(&suspended), active.clone(), true),
            (Some(&active), narrower, true),
            (None, active.clone(), true),
            (None, suspended.clone(), false),
        ];
        for (before, after, expected) in cases {
            assert_eq!(can_end(before, &after), expected, "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_large_share_of_many_sessions_is_too_much() {
        let brake = Brake::new(Searcher::new(None).unwrap(), 50);
        let count = |ending, live| MassEnding {
            live,
            ending,
            counted: true,
            gaps: Vec::new(),
        };
        assert!(brake.exceeds(&count(1_001, 2_000)));
        assert!(!brake.exceeds(&count(1_000, 2_000)));
        assert!(!brake.exceeds(&count(999, 999)));
        assert!(brake.exceeds(&MassEnding::default()));
    }
}
