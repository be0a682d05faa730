//! Application of events.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Applied, Key, LoggedEvent, SessionTable};
use crate::attributes::Attributes;
use crate::effect::{Effect, Ending};
use crate::event::{Event, EventKind, Subject};
use crate::id::UserRef;
use crate::reason::EndReason;
use crate::slots::{Flags, SlotId};
use crate::time::Timestamp;

/// An event of one session, its time clamped.
#[derive(Clone, Copy)]
struct SessionEventAt<'a> {
    user: Option<UserRef<'a>>,
    at: Timestamp,
    /// Whether `at` is the event's own time rather than a clamped one.
    exact: bool,
    kind: EventKind,
    attributes: Option<&'a Attributes>,
    offset: i64,
}

impl SessionTable {
    /// Applies the event of the record at `offset`.
    ///
    /// `record_timestamp` is the record's own Kafka timestamp, capped at the present:
    /// an event's time counts only up to
    /// [`TableConfig::max_future_skew`](super::TableConfig::max_future_skew) beyond it.
    pub fn apply(
        &mut self,
        event: Event<'_>,
        offset: i64,
        record_timestamp: Timestamp,
        out: &mut Vec<Effect>,
    ) -> Applied {
        let key = self.key_of(event.subject);
        let logged = LoggedEvent {
            event,
            offset,
            record_timestamp,
        };
        self.apply_keyed(&logged, &key, out)
    }

    /// Returns the key of the event's session; an arbitrary one for an event of many sessions.
    pub(super) fn key_of(&self, subject: Subject<'_>) -> Key {
        match subject {
            Subject::Session { id, .. } => self.key(id.into()),
            Subject::AllSessionsOf(_) => self.key("".into()),
        }
    }

    /// Applies an event whose session has this key.
    pub(super) fn apply_keyed(
        &mut self,
        logged: &LoggedEvent<'_>,
        key: &Key,
        out: &mut Vec<Effect>,
    ) -> Applied {
        let event = &logged.event;
        let at = self.clamp(event.at, logged.record_timestamp);
        // A clamped time is an upper bound. While the tracker is behind, it may be long after the event,
        // so it does not prove that the session was idle until then.
        let exact = at == event.at;
        match event.subject {
            Subject::Session { user, .. } => {
                let event_at = SessionEventAt {
                    user,
                    at,
                    exact,
                    kind: event.kind,
                    attributes: event.attributes,
                    offset: logged.offset,
                };
                match self.find(key) {
                    Some(slot) => self.apply_to_live(slot, key, event_at, out),
                    None => self.apply_to_unknown(key, event_at, out),
                }
            }
            Subject::AllSessionsOf(user) => {
                self.end_every_session_of(user, at, exact, event.kind, out);
                Applied::Accepted
            }
        }
    }

    /// Replaces a time that is too far ahead of the record's by the record's, so that a client's clock
    /// cannot make a session immortal.
    pub(super) fn clamp(&mut self, at: Timestamp, record_timestamp: Timestamp) -> Timestamp {
        if at > record_timestamp + self.config.max_future_skew {
            self.counters.clamped += 1;
            record_timestamp
        } else {
            at
        }
    }

    fn apply_to_live(
        &mut self,
        slot: SlotId,
        key: &Key,
        event: SessionEventAt<'_>,
        out: &mut Vec<Effect>,
    ) -> Applied {
        let (deadline, reason) = self.deadline(slot);
        if event.exact && event.at >= deadline {
            self.end(slot, reason, deadline, out);
            return self.apply_to_unknown(key, event, out);
        }
        match event.kind {
            EventKind::Activity if self.has_attributes_of(slot, event) => {
                self.touch(slot, event.at, event.offset);
            }
            EventKind::Activity | EventKind::Login => self.update(slot, event),
            EventKind::Logout => self.end(slot, EndReason::Logout, event.at, out),
            EventKind::Revoke => self.end(slot, EndReason::Revoked, event.at, out),
        }
        Applied::Accepted
    }

    /// Returns whether the event leaves the session's attributes as they are.
    fn has_attributes_of(&self, slot: SlotId, event: SessionEventAt<'_>) -> bool {
        event.attributes.is_none_or(|attributes| {
            let known = self.slots.details(slot).attributes.as_deref();
            known == Some(attributes).filter(|all| !all.is_empty())
        })
    }

    /// Applies activity, the most frequent event: one write to the slot, and the timer stays
    /// where it is.
    pub(super) fn touch(&mut self, slot: SlotId, at: Timestamp, offset: i64) {
        if self.slots[slot].flags.has(Flags::WARNED) {
            let (before, _) = self.deadline(slot);
            self.raise_activity(slot, at, offset);
            self.withdraw_warning(slot, before);
        } else {
            self.raise_activity(slot, at, offset);
        }
    }

    /// Raises only the last activity, which is not stored at once.
    pub(super) fn raise_activity(&mut self, slot: SlotId, at: Timestamp, offset: i64) {
        let session = &mut self.slots[slot];
        if at > session.last_activity {
            session.last_activity = at;
            self.mark_dirty(slot, offset);
        }
    }

    /// Applies a login, which restarts both clocks, or activity with other attributes.
    fn update(&mut self, slot: SlotId, event: SessionEventAt<'_>) {
        let (before, _) = self.deadline(slot);
        let session = &mut self.slots[slot];
        session.last_activity = session.last_activity.max(event.at);
        if event.kind == EventKind::Login {
            session.started_at = session.started_at.max(event.at);
            if let Some(user) = event.user.map(UserRef::to_owned) {
                session.flags.set(Flags::USER_IS_NUMBER, user.number);
                self.slots.details_mut(slot).user = user.text;
            }
        }
        if let Some(attributes) = event.attributes {
            self.slots.details_mut(slot).attributes = boxed(attributes);
        }
        self.mark_pending(slot);
        self.resolve_policy(slot);
        self.withdraw_warning(slot, before);
    }

    fn apply_to_unknown(
        &mut self,
        key: &Key,
        event: SessionEventAt<'_>,
        out: &mut Vec<Effect>,
    ) -> Applied {
        let user = event.user.map_or("", |user| user.text);
        let policy = self.policies.resolve(user, event.attributes);
        let policy = self.policies.get(policy);
        let (deadline, _) = policy.deadline(event.at, event.at);
        if deadline + self.config.allowed_lateness <= self.watermark {
            self.counters.late += 1;
            return Applied::Late;
        }
        let reason = match event.kind {
            EventKind::Activity | EventKind::Login => return self.start(key, event),
            EventKind::Logout => EndReason::Logout,
            EventKind::Revoke => EndReason::Revoked,
        };
        // A token of the session may exist: end it all the same.
        out.push(Effect::Ended(Box::new(Ending {
            session: key.id.clone(),
            user: event.user.map(UserRef::to_owned),
            reason,
            policy: Arc::clone(policy),
            started_at: None,
            last_activity: None,
            ended_at: event.at,
            start_offset: event.offset,
            attributes: event.attributes.cloned(),
        })));
        Applied::Accepted
    }

    fn start(&mut self, key: &Key, event: SessionEventAt<'_>) -> Applied {
        if self.slots.len() >= self.config.max_sessions {
            self.counters.refused += 1;
            return Applied::Refused;
        }
        let user = event.user.unwrap_or(UserRef {
            text: "",
            number: false,
        });
        let slot = self.occupy(key, user.to_owned());
        let session = &mut self.slots[slot];
        session.started_at = event.at;
        session.last_activity = event.at;
        let details = self.slots.details_mut(slot);
        details.start_offset = event.offset;
        details.attributes = event.attributes.and_then(boxed);
        self.mark_pending(slot);
        self.resolve_policy(slot);
        self.counters.started += 1;
        Applied::Accepted
    }

    /// Ends every live session of `user` by a scan, because the event is rare.
    fn end_every_session_of(
        &mut self,
        user: UserRef<'_>,
        at: Timestamp,
        exact: bool,
        kind: EventKind,
        out: &mut Vec<Effect>,
    ) {
        let reason = match kind {
            EventKind::Revoke => EndReason::Revoked,
            EventKind::Activity | EventKind::Login | EventKind::Logout => EndReason::Logout,
        };
        let user = user.to_owned();
        let mut found: Vec<(i64, SlotId)> = self
            .slots
            .live()
            .filter(|&slot| self.slots.user_id(slot) == user)
            .map(|slot| (self.slots.details(slot).start_offset, slot))
            .collect();
        found.sort_unstable();
        for (_, slot) in found {
            let (deadline, due_to) = self.deadline(slot);
            if exact && at >= deadline {
                self.end(slot, due_to, deadline, out);
            } else {
                self.end(slot, reason, at, out);
            }
        }
    }

    /// Ends the session of `slot`.
    pub(super) fn end(
        &mut self,
        slot: SlotId,
        reason: EndReason,
        ended_at: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let policy = Arc::clone(self.policy(slot));
        let user = self.slots.user_id(slot);
        let (session, details) = self.vacate(slot);
        if session.flags.has(Flags::STORED) {
            self.forgotten.push(session.id.clone());
        }
        out.push(Effect::Ended(Box::new(Ending {
            user: Some(user),
            session: session.id,
            reason,
            policy,
            started_at: Some(session.started_at),
            last_activity: Some(session.last_activity),
            ended_at,
            start_offset: details.start_offset,
            attributes: details.attributes.map(|all| *all),
        })));
    }
}

fn boxed(attributes: &Attributes) -> Option<Box<Attributes>> {
    (!attributes.is_empty()).then(|| Box::new(attributes.clone()))
}
