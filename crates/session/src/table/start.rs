//! Events of sessions that are not live.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::events::EventAt;
use super::{Applied, Key, SessionTable};
use crate::checkpoint::RememberedEnding;
use crate::effect::{Effect, Ending};
use crate::event::EventKind;
use crate::id::UserRef;
use crate::policy::PolicyIndex;
use crate::reason::EndReason;
use crate::slots::Flags;
use crate::time::Timestamp;

impl SessionTable {
    pub(super) fn apply_to_unknown(
        &mut self,
        key: &Key,
        event: EventAt<'_>,
        out: &mut Vec<Effect>,
    ) -> Applied {
        let ended = self.remembered.get(&key.id, key.hash);
        if let Some(dropped) = ended.and_then(|ended| self.belongs_to(ended, key, event)) {
            return dropped;
        }
        let user = event.user.map_or("", |user| user.text);
        let policy = self.policies.resolve(user, event.attributes);
        if !event.waited && self.is_late(policy, event.at) {
            self.counters.late += 1;
            return Applied::Late;
        }
        match event.kind.ends_with() {
            None => self.start(key, event, ended, out),
            Some(reason) => {
                self.end_unknown(key, event, reason, policy, out);
                Applied::Accepted
            }
        }
    }

    /// Returns what becomes of an event that belongs to the ended session of the id; `None` if it does
    /// not.
    pub(super) fn belongs_to_ended(&mut self, key: &Key, event: EventAt<'_>) -> Option<Applied> {
        let ended = self.remembered.get(&key.id, key.hash)?;
        self.belongs_to(ended, key, event)
    }

    fn belongs_to(
        &mut self,
        ended: RememberedEnding,
        key: &Key,
        event: EventAt<'_>,
    ) -> Option<Applied> {
        if event.kind.ends_with().is_some() {
            if event.at > ended.ended_at {
                self.keep_unmatched(key, event);
            }
            self.counters.already_ended += 1;
            return Some(Applied::AlreadyEnded);
        }
        let timed_out = ended.reason.is_timeout();
        // A check of the limit precedes the events of its time, as a timeout does.
        let is_last = !timed_out && ended.reason != EndReason::SessionLimit;
        if event.at < ended.ended_at || (event.at == ended.ended_at && is_last) {
            self.counters.late += 1;
            return Some(Applied::Late);
        }
        let is_under_way = event.kind == EventKind::Activity
            && !timed_out
            && event.at <= self.grace_end(ended.ended_at);
        if !is_under_way {
            return None;
        }
        if ended.in_flight.is_none_or(|latest| event.at > latest) {
            let ending = RememberedEnding {
                in_flight: Some(event.at),
                ..ended
            };
            self.remembered.replace(&key.id, key.hash, ending);
            self.mark_ended(key);
        }
        self.counters.in_flight += 1;
        Some(Applied::InFlight)
    }

    /// Returns whether a session that began at `at` would have ended before the watermark.
    fn is_late(&self, policy: PolicyIndex, at: Timestamp) -> bool {
        let policy = self.policies.get(policy);
        let (deadline, _) = policy.deadline(at, at);
        deadline + policy.lateness(self.config.allowed_lateness) <= self.watermark
    }

    /// Starts a session; `ended` is the remembered ending of an earlier one of the id.
    fn start(
        &mut self,
        key: &Key,
        event: EventAt<'_>,
        ended: Option<RememberedEnding>,
        out: &mut Vec<Effect>,
    ) -> Applied {
        let is_full = self.slots.len() >= self.config.max_sessions;
        if is_full || !self.may_grow && !self.slots.has_free() {
            self.counters.refused += 1;
            return Applied::Refused;
        }
        let in_flight = ended.and_then(|ended| ended.in_flight);
        if ended.is_some_and(|ended| ended.reason == EndReason::Revoked)
            && event.kind == EventKind::Activity
        {
            self.counters.revived += 1;
        }
        let user = event.user.unwrap_or(UserRef {
            text: "",
            number: false,
        });
        let slot = self.occupy(key, user.to_owned());
        let session = &mut self.slots[slot];
        session.authenticated_at = event.at;
        // A login that was overtaken by activity under way.
        session.last_activity = event.at.max(in_flight.unwrap_or(event.at));
        session
            .flags
            .set(Flags::LOGGED_IN, event.kind == EventKind::Login);
        session
            .flags
            .set(Flags::BEGAN_WITH_LOGIN, event.kind == EventKind::Login);
        let details = self.slots.details_mut(slot);
        details.started_at = event.at;
        details.attributes = event.session_attributes();
        self.mark_pending(slot);
        self.resolve_policy(slot);
        self.check_after_start(slot);
        self.counters.started += 1;
        // With events that have waited come the ends that have.
        if !event.waited {
            self.end_by_known(slot, key, event.at..Timestamp::MAX, out);
        }
        Applied::Accepted
    }

    /// Ends a session that no event has named before: a token of it may exist.
    pub(super) fn end_unknown(
        &mut self,
        key: &Key,
        event: EventAt<'_>,
        reason: EndReason,
        policy: PolicyIndex,
        out: &mut Vec<Effect>,
    ) {
        out.push(Effect::Ended(Box::new(Ending {
            session: key.id.clone(),
            user: event.user.map(UserRef::to_owned),
            reason,
            policy: Arc::clone(self.policies.get(policy)),
            started_at: None,
            last_activity: None,
            ended_at: event.at,
            attributes: event.attributes.cloned(),
            initiator: event.initiator.cloned(),
        })));
        self.remember(
            key,
            RememberedEnding {
                reason,
                ended_at: event.at,
                in_flight: None,
            },
        );
    }
}
