//! Checks that nothing is missing.

use std::collections::BTreeSet;

use super::{Oracle, Verdict, aborted, timed_out};
use crate::cluster::Cluster;
use crate::facts::Fact;
use crate::rules::Rules;
use crate::schedule::Settings;

/// How long after its deadline an ending may become readable while all is well: asking
/// for end offsets, the next commit, its markers. Sessions that are due together take as many commits as
/// they have outputs, if a transaction takes one.
pub(crate) fn lateness_bound(settings: &Settings) -> i64 {
    const ALL_SESSIONS: usize = 10_000;
    3_000 + i64::try_from(ALL_SESSIONS / settings.transaction).expect("a number that fits")
}

impl Oracle {
    /// At the end of a simulation: each record had an effect.
    pub(crate) fn nothing_lost(&self, cluster: &Cluster, rules: &Rules) -> Verdict {
        for fact in &self.facts {
            let excused = fact.lost || aborted(cluster, fact);
            if !excused && fact.offset.is_none() {
                return Err(format!("not forwarded: {fact:?}"));
            }
            if !excused && !self.had_an_effect(fact, rules) {
                return Err(format!("had no effect: {fact:?}"));
            }
        }
        let known = |place: &String| {
            let is_known = |fact: &Fact| {
                let is_refused = *place == place_of(fact) && self.may_be_refused(fact);
                is_refused || fact.garbage && *place == origin_of(fact)
            };
            self.repeated.contains(place) || self.facts.iter().any(is_known)
        };
        match self.dead.keys().find(|origin| !known(origin)) {
            Some(origin) => Err(format!("a dead letter of {origin}, which was well")),
            None => Ok(()),
        }
    }

    /// Every ending that fell due after `since`, from when on all was well, was noticed
    /// within the bound, as were those that were overdue then.
    pub(crate) fn nothing_late(&self, since: i64) -> Verdict {
        for ending in &self.endings {
            let due = ending.ended_at + self.settings.allowed_lateness;
            let noticed = ending.seen_at <= due.max(since) + lateness_bound(&self.settings);
            if timed_out(ending.reason) && !noticed {
                let late = ending.seen_at - due.max(since);
                return Err(format!("noticed {late} ms too late: {ending:?}"));
            }
        }
        Ok(())
    }

    /// Whether the event is a dead letter because its partition had as many sessions as it may have.
    pub(super) fn is_refused(&self, fact: &Fact) -> bool {
        fact.is_activity() && self.dead.contains_key(&place_of(fact))
    }

    /// Whether the partition may have had as many sessions as it may have when the event was read.
    fn may_be_refused(&self, fact: &Fact) -> bool {
        let before = |other: &&Fact| {
            let here = other.partition == fact.partition && other.session != fact.session;
            here && other.session.is_some() && other.offset < fact.offset
        };
        let others: BTreeSet<_> = self
            .facts
            .iter()
            .filter(before)
            .map(|one| &one.session)
            .collect();
        fact.is_activity() && others.len() >= self.settings.max_sessions
    }

    fn had_an_effect(&self, fact: &Fact, rules: &Rules) -> bool {
        if fact.garbage {
            return self.dead.contains_key(&origin_of(fact));
        }
        if self.is_refused(fact) {
            return true;
        }
        let Some(session) = &fact.session else {
            // What a user's logout ends would have ended sooner or later.
            return true;
        };
        // Its session would have been over when it was read.
        let over = fact.earliest + rules.shortest() + self.settings.allowed_lateness;
        if over <= fact.appended || self.is_forwarded_late(fact, rules) {
            return true;
        }
        let mut endings = self
            .endings
            .iter()
            .filter(|ending| ending.session == *session);
        if fact.is_end() {
            // It ended the session, or repeated or echoed an end of it.
            return endings.next().is_some();
        }
        endings.any(|ending| {
            let counted = ending.ended_at >= fact.earliest
                || ending
                    .last_activity
                    .is_some_and(|last| last >= fact.earliest);
            let under_way =
                !timed_out(ending.reason) && fact.earliest <= ending.ended_at + self.grace();
            counted || under_way
        })
    }
}

/// Where the event is on the partition that it belongs on.
pub(super) fn place_of(fact: &Fact) -> String {
    format!("{}/{}", fact.partition, fact.offset.unwrap_or(-1))
}

pub(super) fn origin_of(fact: &Fact) -> String {
    format!("{}/{}", fact.origin.partition, fact.origin.offset)
}
