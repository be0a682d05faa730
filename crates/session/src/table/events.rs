//! Application of events.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Applied, Key, LoggedEvent, SessionTable};
use crate::attributes::{Attributes, SessionAttributes};
use crate::cut_off::{CutOff, CutOffScope};
use crate::effect::Effect;
use crate::event::{Event, EventKind, Initiator, Subject};
use crate::id::{SessionId, UserRef};
use crate::reason::EndReason;
use crate::slots::{Flags, SlotId};
use crate::time::Timestamp;

/// An event of one session, its time clamped.
#[derive(Clone, Copy)]
pub(super) struct EventAt<'a> {
    pub(super) user: Option<UserRef<'a>>,
    pub(super) at: Timestamp,
    /// Whether `at` is the event's own time rather than a clamped one.
    pub(super) exact: bool,
    /// When the session was active for certain: no event before it can follow.
    pub(super) proof: Timestamp,
    /// Whether the event has waited for the end of an earlier session: it was not late.
    pub(super) waited: bool,
    pub(super) kind: EventKind,
    pub(super) attributes: Option<&'a Attributes>,
    pub(super) initiator: Option<&'a Initiator>,
    pub(super) offset: i64,
}

impl EventAt<'_> {
    /// An event that was read before: it is not late, and proves nothing of a session that begins now.
    ///
    /// Sessions to which it is applied are stored at once, so its offset marks nothing as dirty.
    pub(super) fn read_before(at: Timestamp, kind: EventKind) -> Self {
        Self {
            user: None,
            at,
            exact: true,
            proof: Timestamp::MIN,
            waited: true,
            kind,
            attributes: None,
            initiator: None,
            offset: i64::MAX,
        }
    }

    pub(super) fn session_attributes(&self) -> Option<Box<SessionAttributes>> {
        let attributes = self.attributes?.clone();
        Some(Box::new(SessionAttributes {
            attributes,
            at: self.at,
        }))
    }
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
            Subject::AllSessionsOf { .. } | Subject::Matching { .. } => self.key("".into()),
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
        let (scope, except) = match event.subject {
            Subject::Session { user, .. } => {
                let event_at = EventAt {
                    user,
                    at,
                    // A clamped time is an upper bound. While the tracker is behind, it may be long
                    // after the event, so it does not prove that the session was idle until then.
                    exact: at == event.at,
                    proof: at.min(logged.record_timestamp).min(self.upstream),
                    waited: false,
                    kind: event.kind,
                    attributes: event.attributes,
                    initiator: event.initiator,
                    offset: logged.offset,
                };
                return self.apply_to_session(key, event_at, out);
            }
            Subject::AllSessionsOf { user, except } => (
                CutOffScope::User(user.to_owned()),
                except.map(SessionId::new),
            ),
            Subject::Matching { attributes } => (CutOffScope::Matching(attributes.clone()), None),
        };
        let cut_off = CutOff {
            scope,
            except,
            at,
            reason: event.kind.ends_with().unwrap_or(EndReason::Logout),
            initiator: event.initiator.cloned().map(Box::new),
        };
        self.apply_cut_off(cut_off, out)
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

    /// Applies an event to the live session of this id, or to none.
    pub(super) fn apply_to_session(
        &mut self,
        key: &Key,
        event: EventAt<'_>,
        out: &mut Vec<Effect>,
    ) -> Applied {
        loop {
            let Some(slot) = self.find(key) else {
                return self.apply_to_unknown(key, event, out);
            };
            let others_wait = self.slots[slot].flags.has(Flags::DEFERRED);
            // The deadline may have moved past waiting events with the policy.
            if others_wait && self.apply_released(slot, out) {
                continue;
            }
            let (deadline, reason) = self.deadline(slot);
            // A session does not wait for a check from before its start.
            let waits = event.at >= self.horizon_within(slot, deadline)
                && event.at >= self.slots.details(slot).started_at;
            if !waits || !event.exact {
                let applied = self.apply_to_live(slot, event, out);
                if others_wait && let Some(slot) = self.find(key) {
                    self.apply_released(slot, out);
                }
                return applied;
            }
            let awaits_check = self.slots[slot].flags.has(Flags::AWAITS_CHECK);
            if awaits_check || event.proof < deadline + self.lateness(slot) {
                self.defer(slot, event.to_deferred(false));
                return Applied::Accepted;
            }
            self.time_out(slot, reason, deadline, out);
        }
    }

    fn apply_to_live(
        &mut self,
        slot: SlotId,
        event: EventAt<'_>,
        out: &mut Vec<Effect>,
    ) -> Applied {
        if let Some(reason) = event.kind.ends_with() {
            return self.end_by_event(slot, event, reason, out);
        }
        // The start is in other memory than the slot, and never after the latest login.
        let is_first = event.at < self.slots[slot].authenticated_at
            && event.at < self.slots.details(slot).started_at;
        if is_first {
            return self.move_start_back(slot, event, out);
        }
        if event.kind == EventKind::Activity
            && self.confirm_attributes(slot, event.attributes, event.at, event.offset)
        {
            self.touch(slot, event.at, event.offset);
        } else {
            self.update(slot, event);
            // With events that have waited come the ends that have.
            if !event.waited {
                self.end_by_known_since_login(slot, event, out);
            }
        }
        Applied::Accepted
    }

    /// Notes that an event of this time has the attributes of the session. Returns whether the event
    /// leaves them as they are.
    pub(super) fn confirm_attributes(
        &mut self,
        slot: SlotId,
        attributes: Option<&Attributes>,
        at: Timestamp,
        offset: i64,
    ) -> bool {
        let Some(attributes) = attributes else {
            return true;
        };
        let known = self.slots.details_mut(slot).attributes.as_deref_mut();
        let Some(known) = known else { return false };
        if at < known.at {
            return true;
        }
        if known.attributes != *attributes {
            return false;
        }
        if at > known.at {
            known.at = at;
            self.mark_dirty(slot, offset);
        }
        true
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
    pub(super) fn update(&mut self, slot: SlotId, event: EventAt<'_>) {
        let (before, _) = self.deadline(slot);
        let session = &mut self.slots[slot];
        session.last_activity = session.last_activity.max(event.at);
        self.revise(slot, event, before);
    }

    /// Ends a session by what was known before this login, after which the user may be another one. Returns
    /// whether it has.
    pub(super) fn end_by_known_since_login(
        &mut self,
        slot: SlotId,
        event: EventAt<'_>,
        out: &mut Vec<Effect>,
    ) -> bool {
        if event.kind != EventKind::Login || self.slots[slot].authenticated_at != event.at {
            return false;
        }
        let key = self.key(self.slots[slot].id.clone());
        self.end_by_known(slot, &key, event.at..Timestamp::MAX, out)
    }

    /// Takes over what an event says of its session, whose deadline was at `before`, and stores it.
    fn revise(&mut self, slot: SlotId, event: EventAt<'_>, before: Timestamp) {
        self.authenticate(slot, event);
        self.mark_pending(slot);
        self.resolve_policy(slot);
        self.withdraw_warning(slot, before);
    }

    /// Takes over the user of the latest login, and the latest attributes.
    fn authenticate(&mut self, slot: SlotId, event: EventAt<'_>) {
        let session = &mut self.slots[slot];
        let logged_in = session.flags.has(Flags::LOGGED_IN);
        if event.kind == EventKind::Login && (!logged_in || event.at >= session.authenticated_at) {
            session.authenticated_at = event.at;
            session.flags.set(Flags::LOGGED_IN, true);
            self.set_user(slot, event.user);
        }
        let known = self.slots.details(slot).attributes.as_ref();
        if event.attributes.is_some() && known.is_none_or(|known| known.at <= event.at) {
            self.slots.details_mut(slot).attributes = event.session_attributes();
        }
    }

    fn set_user(&mut self, slot: SlotId, user: Option<UserRef<'_>>) {
        let Some(user) = user.map(UserRef::to_owned) else {
            return;
        };
        self.leave_user(slot);
        let flags = &mut self.slots[slot].flags;
        flags.set(Flags::USER_IS_NUMBER, user.number);
        self.slots.details_mut(slot).user = user.text;
    }

    /// Applies an event from before the start of its session.
    fn move_start_back(
        &mut self,
        slot: SlotId,
        event: EventAt<'_>,
        out: &mut Vec<Effect>,
    ) -> Applied {
        let started_at = self.slots.details(slot).started_at;
        let (own_deadline, _) = self.policy(slot).deadline(event.at, event.at);
        if own_deadline <= started_at {
            self.counters.late += 1;
            return Applied::Late;
        }
        let key = self.key(self.slots[slot].id.clone());
        if let Some(dropped) = self.belongs_to_ended(&key, event) {
            return dropped;
        }
        let (before, _) = self.deadline(slot);
        self.slots.details_mut(slot).started_at = event.at;
        self.slots[slot]
            .flags
            .set(Flags::BEGAN_WITH_LOGIN, event.kind == EventKind::Login);
        if !self.slots[slot].flags.has(Flags::LOGGED_IN) {
            self.slots[slot].authenticated_at = event.at;
            self.set_user(slot, event.user);
        }
        self.revise(slot, event, before);
        self.check_after_start(slot);
        self.end_by_known(slot, &key, event.at..started_at, out);
        Applied::Accepted
    }
}
