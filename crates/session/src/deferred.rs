//! Events at or past the deadline of a session, which wait until it is known whether it goes on.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::attributes::Attributes;
use super::event::{EventKind, Initiator};
use super::id::UserId;
use super::time::Timestamp;

/// The bound on the events that wait for one session. Beyond it, activity between other activity is
/// left out, which changes no ending: the events of a list are less than an idle timeout apart.
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

    fn is_plain_activity(&self) -> bool {
        self.kind == EventKind::Activity && self.attributes.is_none()
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
    let redundant = events
        .windows(3)
        .position(|three| three.iter().all(DeferredEvent::is_plain_activity));
    // Without redundant activity, the list consists of decisions, of which the earliest count.
    match redundant {
        Some(first) => drop(events.remove(first + 1)),
        None => drop(events.pop()),
    }
    true
}
