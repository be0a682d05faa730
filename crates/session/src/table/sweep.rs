//! Logouts and revocations of many sessions.
//!
//! Such an event is checked against all live sessions, in slices, and remembered for sessions that turn
//! up late. Time does not advance until all have been checked, so that none of them times out instead.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use super::events::EventAt;
use super::{Applied, Key, SessionTable};
use crate::checkpoint::{CutOffRecord, Record, RecordKey};
use crate::cut_off::{CutOff, CutOffScope};
use crate::effect::Effect;
use crate::event::EventKind;
use crate::id::SessionId;
use crate::slots::{Flags, SlotId};
use crate::time::Timestamp;

/// The number of slots checked in one go: a few milliseconds.
const SLICE: usize = 1 << 16;
/// The number of sessions that an event ends when it is applied. More of them end with the next slices,
/// which have as much room as the caller gives them: otherwise one event could fill a transaction that takes
/// seconds to write.
const ENDINGS_AT_ONCE: usize = 1 << 12;

impl SessionTable {
    /// Applies a logout or revocation of many sessions. Repeated, it changes nothing.
    pub(super) fn apply_cut_off(&mut self, cut_off: CutOff, out: &mut Vec<Effect>) -> Applied {
        if self.cut_offs.find(&cut_off).is_some() {
            self.counters.already_ended += 1;
            return Applied::AlreadyEnded;
        }
        let place = self.cut_offs.insert(cut_off, false, self.watermark);
        self.cut_offs.changed.push(place);
        self.bound_cut_offs(out);
        self.sweep(ENDINGS_AT_ONCE, out);
        Applied::Accepted
    }

    /// Checks a slice of the live sessions against new cut-offs, until `limit` effects have been
    /// appended. Returns whether all have been checked.
    pub(super) fn sweep(&mut self, limit: usize, out: &mut Vec<Effect>) -> bool {
        let full = out.len().saturating_add(limit);
        let mut left = SLICE;
        while let Some((place, next)) = self.cut_offs.sweeps.pop_front() {
            let Some(entry) = self.cut_offs.by_time.get(&place) else {
                continue;
            };
            let cut_off = Arc::clone(&entry.cut_off);
            let mut next = next;
            for slot in self.slots.numbers(next) {
                if left == 0 || out.len() >= full {
                    self.cut_offs.sweeps.push_front((place, next));
                    return false;
                }
                left -= 1;
                next = slot + 1;
                self.check(slot, &cut_off, out);
            }
            if let Some(entry) = self.cut_offs.by_time.get_mut(&place) {
                entry.complete = true;
                self.cut_offs.changed.push(place);
            }
        }
        true
    }

    fn check(&mut self, slot: SlotId, cut_off: &CutOff, out: &mut Vec<Effect>) {
        if !self.slots[slot].flags.has(Flags::LIVE) || !self.is_matched(slot, cut_off) {
            return;
        }
        if !self.apply_released(slot, out) {
            self.end_or_defer(slot, cut_off.as_event_at(), out);
        }
    }

    /// Ends the session by the first of the logouts and revocations of this time that were read before
    /// the session was known, or known to be as old as it is. Events that wait and precede it count
    /// first. Returns whether the session has ended.
    pub(super) fn end_by_known(
        &mut self,
        slot: SlotId,
        key: &Key,
        times: Range<Timestamp>,
        out: &mut Vec<Effect>,
    ) -> bool {
        let unmatched = self.unmatched(key).find(|end| times.contains(&end.at));
        let unmatched = unmatched.cloned();
        let until = unmatched.as_ref().map_or(times.end, |end| end.at);
        let first_waiting = self.first_deferred(slot);
        let others_precede = |at| first_waiting.is_some_and(|first| first <= at);
        if let Some(cut_off) = self.first_cut_off(slot, times.start..until) {
            let event = cut_off.as_event_at();
            if !others_precede(event.at) {
                return self.end_or_defer(slot, event, out);
            }
            self.defer(slot, event.to_deferred(true));
            self.arm(slot);
            return false;
        }
        if let Some(end) = unmatched {
            self.unmatched.remove(&key.id, key.hash, end.at);
            if end.at < self.horizon(slot) && !others_precede(end.at) {
                self.cut(slot, end.as_event_at(), end.reason, false, out);
                return true;
            }
            self.defer(slot, end.as_event_at().to_deferred(false));
            self.arm(slot);
        }
        false
    }

    fn first_cut_off(&self, slot: SlotId, times: Range<Timestamp>) -> Option<Arc<CutOff>> {
        if self.cut_offs.by_time.is_empty() || times.is_empty() {
            return None;
        }
        let places = (times.start, 0)..(times.end, 0);
        let mut known = self.cut_offs.by_time.range(places);
        let found = known.find(|(_, entry)| self.is_matched(slot, &entry.cut_off));
        found.map(|(_, entry)| Arc::clone(&entry.cut_off))
    }

    fn is_matched(&self, slot: SlotId, cut_off: &CutOff) -> bool {
        self.is_in_scope(slot, &cut_off.scope, cut_off.except.as_ref())
    }

    pub(super) fn is_in_scope(
        &self,
        slot: SlotId,
        scope: &CutOffScope,
        except: Option<&SessionId>,
    ) -> bool {
        let (session, details) = (&self.slots[slot], self.slots.details(slot));
        let in_scope = match scope {
            CutOffScope::User(user) => {
                session.flags.has(Flags::USER_IS_NUMBER) == user.number && details.user == user.text
            }
            CutOffScope::Matching(attributes) => attributes.are_subset_of(details.attributes()),
        };
        in_scope && except != Some(&session.id)
    }

    /// Applies a logout or revocation of many sessions to one of them, which it concerns. Returns whether
    /// it has ended the session.
    pub(super) fn end_or_defer(
        &mut self,
        slot: SlotId,
        event: EventAt<'_>,
        out: &mut Vec<Effect>,
    ) -> bool {
        let session = &self.slots[slot];
        let began = self.slots.details(slot).started_at <= event.at;
        let is_stale = session.authenticated_at > event.at
            && event.at + self.config.allowed_lateness <= self.watermark;
        let Some(reason) = event.kind.ends_with().filter(|_| began && !is_stale) else {
            return false;
        };
        if event.at >= self.horizon(slot) {
            self.defer(slot, event.to_deferred(true));
            return false;
        }
        self.cut(slot, event, reason, true, out);
        true
    }

    /// Forgets the oldest cut-offs beyond the bound, each once it has been checked against every session:
    /// beyond the bound, such events take as long as their checks.
    fn bound_cut_offs(&mut self, out: &mut Vec<Effect>) {
        while self.cut_offs.by_time.len() > self.config.max_cut_offs.max(1) {
            let Some((_, place)) = self.cut_offs.added.pop_front() else {
                break;
            };
            while self.cut_offs.is_incomplete(place) && !self.sweep(usize::MAX, out) {}
            if self.cut_offs.by_time.contains_key(&place) {
                self.counters.forgotten_early += 1;
                self.cut_offs.remove(place);
            }
        }
    }

    pub(super) fn forget_expired_cut_offs(&mut self) {
        while let Some(&(since, place)) = self.cut_offs.added.front()
            && since + self.config.remember_endings <= self.watermark
        {
            self.cut_offs.added.pop_front();
            self.cut_offs.remove(place);
        }
    }

    /// Restores a cut-off. One that has not been checked against all sessions is checked again.
    pub(super) fn restore_cut_off(&mut self, record: CutOffRecord) {
        self.discard_cut_off(&record.cut_off);
        self.cut_offs
            .insert(record.cut_off, record.complete, self.watermark);
    }

    pub(super) fn discard_cut_off(&mut self, cut_off: &CutOff) {
        if let Some(place) = self.cut_offs.find(cut_off) {
            self.cut_offs.by_time.remove(&place);
            self.cut_offs.sweeps.retain(|(swept, _)| *swept != place);
        }
    }

    /// Has the next flush write the record of a cut-off again, or delete it.
    pub(super) fn rewrite_cut_off(&mut self, cut_off: Box<CutOff>) {
        match self.cut_offs.find(&cut_off) {
            Some(place) => self.cut_offs.changed.push(place),
            None => self.cut_offs.forgotten.push(RecordKey::CutOff(cut_off)),
        }
    }

    pub(super) fn store_cut_offs(&mut self, out: &mut Vec<Effect>) {
        let mut changed = core::mem::take(&mut self.cut_offs.changed);
        changed.sort_unstable();
        changed.dedup();
        for place in changed {
            if let Some(entry) = self.cut_offs.by_time.get(&place) {
                out.push(Effect::Store(Record::CutOff(CutOffRecord {
                    cut_off: CutOff::clone(&entry.cut_off),
                    complete: entry.complete,
                })));
            }
        }
        out.extend(self.cut_offs.forgotten.drain(..).map(Effect::Forget));
    }
}

impl CutOff {
    fn as_event_at(&self) -> EventAt<'_> {
        EventAt {
            initiator: self.initiator.as_deref(),
            ..EventAt::read_before(self.at, EventKind::ending_with(self.reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};

    use super::*;
    use crate::attributes::Attributes;
    use crate::event::{Event, Subject};
    use crate::id::UserRef;
    use crate::policy::{Policy, PolicySet};
    use crate::reason::EndReason;
    use crate::table::TableConfig;
    use crate::time::Span;

    const NOON: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    fn user(text: &str) -> UserRef<'_> {
        UserRef {
            text,
            number: false,
        }
    }

    fn apply(
        table: &mut SessionTable,
        subject: Subject<'_>,
        kind: EventKind,
        out: &mut Vec<Effect>,
    ) {
        let event = Event {
            subject,
            at: NOON,
            kind,
            attributes: None,
            initiator: None,
        };
        table.apply(event, 0, NOON, out);
    }

    fn table_with(config: TableConfig, ids: &[String]) -> SessionTable {
        let hour = Policy::built_in(Span::from_secs(3_600), None);
        let policies = Arc::new(PolicySet::new(Vec::new(), hour).unwrap());
        let mut table = SessionTable::new(config, policies, Timestamp::MIN);
        let mut out = Vec::new();
        for id in ids {
            let subject = Subject::Session {
                id,
                user: Some(user(id)),
            };
            apply(&mut table, subject, EventKind::Activity, &mut out);
        }
        table
    }

    fn ids(count: usize) -> Vec<String> {
        (0..count).map(|number| number.to_string()).collect()
    }

    #[test]
    fn a_revocation_of_many_sessions_ends_a_bounded_number_at_once() {
        let ids = ids(3 * ENDINGS_AT_ONCE);
        let mut table = table_with(TableConfig::default(), &ids);
        let mut out = Vec::new();
        let attributes = Attributes::default();
        let all_users = Subject::Matching {
            attributes: &attributes,
        };
        apply(&mut table, all_users, EventKind::Revoke, &mut out);
        assert_eq!(out.len(), ENDINGS_AT_ONCE);
        while !table.sweep(100, &mut out) {}
        assert_eq!(out.len(), ids.len());
    }

    #[test]
    fn a_revocation_is_forgotten_early_only_once_it_has_ended_its_sessions() {
        let config = TableConfig {
            max_cut_offs: 2,
            ..TableConfig::default()
        };
        // The sessions that are revoked lie in the last slice.
        let ids = ids(2 * SLICE + 8);
        let mut table = table_with(config, &ids);
        let mut out = Vec::new();
        let revoked = &ids[2 * SLICE..];
        for id in revoked {
            let subject = Subject::AllSessionsOf {
                user: user(id),
                except: None,
            };
            apply(&mut table, subject, EventKind::Revoke, &mut out);
        }
        while !table.sweep(usize::MAX, &mut out) {}
        let ended = out.iter().filter_map(|effect| match effect {
            Effect::Ended(ending) => Some((ending.session.clone(), ending.reason)),
            _ => None,
        });
        let expected = revoked
            .iter()
            .map(|id| (SessionId::new(id), EndReason::Revoked));
        assert!(ended.eq(expected));
    }
}
