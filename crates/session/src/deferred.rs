//! Events at or past the deadline of a session, which wait until it is known whether it goes on.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::attributes::Attributes;
use super::event::{EventKind, Initiator};
use super::id::UserId;
use super::time::Timestamp;

/// The bound on the events that wait for one session. Beyond it, activity between other activity is
/// left out, where the two are closest to each other: an ending changes only if they are more than an
/// idle timeout apart.
pub(super) const MAX_DEFERRED: usize = 64;

/// An event that came at or past the deadline of its session.
#[derive(Clone, Debug, PartialEq)]
pub struct DeferredEvent {
    /// The event time.
    pub at: Timestamp,
    /// The kind of the event.
    pub kind: EventKind,
    /// Whether the event concerns more sessions than this one.
    pub broad: bool,
    /// The user, if the event named one.
    pub user: Option<UserId>,
    /// The attributes, if the event had any.
    pub attributes: Option<Box<Attributes>>,
    /// Who asked for the ending, if the event names them.
    pub initiator: Option<Box<Initiator>>,
}

impl DeferredEvent {
    /// The order in which events count: by time, those that end a session last.
    fn order(&self) -> (Timestamp, bool) {
        (self.at, self.kind.ends_with().is_some())
    }

    fn is_activity(&self) -> bool {
        self.kind == EventKind::Activity
    }

    /// Whether it says nothing that the event before it does not say.
    fn repeats(&self, before: &Self) -> bool {
        (self.user.is_none() || self.user == before.user)
            && (self.attributes.is_none() || self.attributes == before.attributes)
    }
}

/// Inserts `event` in order, behind those of the same time. Returns whether an event had to be left out
/// to stay within [`MAX_DEFERRED`].
pub(super) fn insert(events: &mut Vec<DeferredEvent>, event: DeferredEvent) -> bool {
    let at = events.partition_point(|other| other.order() <= event.order());
    events.insert(at, event);
    if events.len() <= MAX_DEFERRED {
        return false;
    }
    let redundant = events.windows(3).enumerate().filter(|(_, three)| {
        three.iter().all(DeferredEvent::is_activity) && three[1].repeats(&three[0])
    });
    let redundant = redundant.min_by_key(|(_, three)| three[2].at.since(three[0].at));
    // Without redundant activity, the list consists of decisions, of which the earliest count.
    match redundant {
        Some((first, _)) => drop(events.remove(first + 1)),
        None => drop(events.pop()),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::time::Span;
    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    fn activity(at: Timestamp, tenant: &str) -> DeferredEvent {
        DeferredEvent {
            at,
            kind: EventKind::Activity,
            broad: false,
            user: None,
            attributes: Some(Box::new(Attributes::new([("tenant", tenant)]).unwrap())),
            initiator: None,
        }
    }

    #[test]
    fn beyond_the_bound_the_latest_activity_stays() {
        let mut events = Vec::new();
        for minute in 0..500 {
            let at = NOON + Span::from_secs(60 * minute);
            insert(&mut events, activity(at, "acme"));
            assert_eq!(events.last().unwrap().at, at);
        }
        assert_eq!(events.len(), MAX_DEFERRED);
        let gaps = events.windows(2).map(|two| two[1].at.since(two[0].at));
        assert!(gaps.max().unwrap() <= Span::from_secs(60 * 16));
    }

    #[test]
    fn a_change_of_attributes_is_not_left_out() {
        let mut events = Vec::new();
        insert(&mut events, activity(NOON, "acme"));
        insert(&mut events, activity(NOON + Span::from_secs(1), "globex"));
        for second in 2..200 {
            let at = NOON + Span::from_secs(second);
            insert(&mut events, activity(at, "globex"));
        }
        let first = |at: usize| events[at].attributes.as_ref().unwrap().get("tenant");
        assert_eq!((first(0), first(1)), (Some("acme"), Some("globex")));
    }
}
