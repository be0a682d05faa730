//! Logouts and revocations of live sessions.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::events::EventAt;
use super::{Applied, Key, SessionTable};
use crate::attributes::SessionAttributes;
use crate::checkpoint::RememberedEnding;
use crate::effect::{Effect, Ending};
use crate::id::UserId;
use crate::reason::EndReason;
use crate::slots::{Flags, Slot, SlotId};
use crate::time::Timestamp;

/// What goes on of a session after its end.
struct Rest {
    started_at: Timestamp,
    authenticated_at: Timestamp,
    began_with_login: bool,
    last_activity: Timestamp,
    logged_in: bool,
    user: UserId,
    attributes: Option<Box<SessionAttributes>>,
}

impl SessionTable {
    /// Applies a logout, revocation or rotation of this session before its deadline.
    pub(super) fn end_by_event(
        &mut self,
        slot: SlotId,
        event: EventAt<'_>,
        reason: EndReason,
        out: &mut Vec<Effect>,
    ) -> Applied {
        let is_of_earlier = event.at < self.slots[slot].authenticated_at;
        if is_of_earlier && event.at + self.config.allowed_lateness <= self.watermark {
            self.counters.stale += 1;
            return Applied::Stale;
        }
        if event.at < self.slots.details(slot).started_at {
            let key = self.key(self.slots[slot].id.clone());
            if let Some(dropped) = self.belongs_to_ended(&key, event) {
                return dropped;
            }
        }
        self.cut(slot, event, reason, false, out);
        Applied::Accepted
    }

    /// Ends at `event.at` what there was of the session by then. What came later goes on as a session
    /// of its own, if it is not traffic that was under way.
    pub(super) fn cut(
        &mut self,
        slot: SlotId,
        event: EventAt<'_>,
        reason: EndReason,
        broad: bool,
        out: &mut Vec<Effect>,
    ) {
        let at = event.at;
        let key = self.key(self.slots[slot].id.clone());
        let waiting = self.take_deferred(slot);
        let policy_index = self.slots[slot].policy;
        let policy = Arc::clone(self.policy(slot));
        let user = self.slots.user_id(slot);
        let (session, details) = self.vacate(slot);
        let rest_from = self.rest_from(&session, details.started_at, at);
        let in_flight = Some(session.last_activity).filter(|latest| *latest > at);
        if details.started_at <= at {
            out.push(Effect::Ended(Box::new(Ending {
                session: session.id,
                user: Some(user.clone()),
                reason,
                policy,
                started_at: Some(details.started_at),
                last_activity: Some(session.last_activity.min(at)),
                ended_at: at,
                attributes: details.attributes().cloned(),
                initiator: event.initiator.cloned(),
            })));
            self.remember(
                &key,
                RememberedEnding {
                    reason,
                    ended_at: at,
                    in_flight: in_flight.filter(|_| rest_from.is_none()),
                },
            );
        } else if !broad {
            self.end_unknown(&key, event, reason, policy_index, out);
            if let Some(latest) = in_flight.filter(|_| rest_from.is_none()) {
                let ending = RememberedEnding {
                    reason,
                    ended_at: at,
                    in_flight: Some(latest),
                };
                self.remembered.replace(&key.id, key.hash, ending);
            }
        }
        if let Some((started_at, began_with_login)) = rest_from {
            // Of several logins, the session keeps the latest.
            let is_whole = started_at == details.started_at;
            let logged_in = began_with_login || is_whole && session.flags.has(Flags::LOGGED_IN);
            let rest = Rest {
                started_at,
                authenticated_at: if is_whole {
                    session.authenticated_at
                } else {
                    started_at
                },
                began_with_login,
                last_activity: session.last_activity,
                logged_in,
                user,
                attributes: details.attributes,
            };
            self.go_on(&key, rest, reason);
        }
        self.resume(&key, &waiting, out);
    }

    /// Returns where the rest of the session begins after an end at `at`, and whether with a login: with
    /// its first event if nothing of it precedes the end, otherwise with the latest login or activity.
    fn rest_from(
        &self,
        session: &Slot,
        started_at: Timestamp,
        at: Timestamp,
    ) -> Option<(Timestamp, bool)> {
        let began_with_login = session.flags.has(Flags::BEGAN_WITH_LOGIN);
        let is_apart = began_with_login || started_at > self.grace_end(at);
        if started_at > at && is_apart {
            return Some((started_at, began_with_login));
        }
        if session.flags.has(Flags::LOGGED_IN) && session.authenticated_at > at {
            return Some((session.authenticated_at, true));
        }
        // Of the activity in between, only the latest is known.
        let latest = session.last_activity;
        (latest > self.grace_end(at)).then_some((latest, false))
    }

    fn go_on(&mut self, key: &Key, rest: Rest, reason: EndReason) {
        let slot = self.occupy(key, rest.user);
        let session = &mut self.slots[slot];
        session.authenticated_at = rest.authenticated_at;
        session.last_activity = rest.last_activity;
        session.flags.set(Flags::LOGGED_IN, rest.logged_in);
        let flags = &mut session.flags;
        flags.set(Flags::BEGAN_WITH_LOGIN, rest.began_with_login);
        let details = self.slots.details_mut(slot);
        details.started_at = rest.started_at;
        details.attributes = rest.attributes;
        self.mark_pending(slot);
        self.resolve_policy(slot);
        self.check_after_start(slot);
        self.counters.started += 1;
        if reason == EndReason::Revoked && !rest.began_with_login {
            self.counters.revived += 1;
        }
    }
}
