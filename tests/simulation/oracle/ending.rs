//! Checks of one terminal event against the log.

use sundown::session::{EndReason, EventKind, Timestamp};
use sundown::wire::terminal::SessionEnded;
use sundown::wire::time;

use super::{Oracle, Verdict, aborted, timed_out};
use crate::cluster::{Cluster, index};
use crate::facts::Fact;
use crate::rules::Rules;

/// A terminal event, and the session that it is about.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) partition: i32,
    pub(super) session: String,
    pub(super) reason: EndReason,
    pub(super) policy: (String, u64),
    pub(super) started_at: Option<i64>,
    pub(super) last_activity: Option<i64>,
    pub(super) ended_at: i64,
    /// When a reader of committed records could first see it.
    pub(super) seen_at: i64,
}

impl Ending {
    pub(super) fn new(event: SessionEnded, partition: i32, seen_at: i64) -> Self {
        let millis = |text: &str| time::parse(text).map(Timestamp::as_millis);
        Self {
            partition,
            reason: event.reason,
            policy: (event.policy.name, event.policy.generation),
            started_at: event.started_at.as_deref().and_then(millis),
            last_activity: event.last_activity.as_deref().and_then(millis),
            ended_at: millis(&event.ended_at).unwrap_or(i64::MIN),
            session: event.session_id,
            seen_at,
        }
    }

    /// When the session began; when it ended if nothing began before.
    pub(super) fn start(&self) -> i64 {
        self.started_at.unwrap_or(self.ended_at)
    }
}

impl Oracle {
    /// How long after a logout activity counts as under way.
    pub(super) fn grace(&self) -> i64 {
        self.settings.end_grace.max(self.settings.allowed_lateness)
    }

    pub(super) fn check_ending(
        &self,
        ending: &Ending,
        cluster: &Cluster,
        rules: &Rules,
    ) -> Verdict {
        if self.held.contains(&ending.partition) {
            return Err(format!("ended on a held partition: {ending:?}"));
        }
        self.check_alone(ending)?;
        self.check_start(ending, cluster)?;
        if timed_out(ending.reason) {
            self.check_deadline(ending, rules)?;
            self.check_no_activity(ending, cluster, rules)?;
        } else if ending.reason == EndReason::SessionLimit {
            self.check_limit(ending, cluster, rules)?;
        } else {
            self.check_asked_for(ending, cluster)?;
        }
        self.check_last_activity(ending, cluster)
    }

    /// Exactly one terminal event: the sessions of an id do not overlap.
    fn check_alone(&self, ending: &Ending) -> Verdict {
        if ending.start() > ending.ended_at {
            return Err(format!("ended before it began: {ending:?}"));
        }
        let reset_at = self.reset_at.get(&ending.partition);
        let overlaps = |other: &&Ending| {
            // One that is decided again may have another reason.
            !self.may_repeat()
                && other.session == ending.session
                && reset_at.is_none_or(|at| *at <= other.seen_at)
                && (other.start() == ending.start()
                    || other.start() < ending.ended_at && ending.start() < other.ended_at)
        };
        match self.endings.iter().find(overlaps) {
            Some(other) => Err(format!("ended twice: {ending:?} after {other:?}")),
            None => Ok(()),
        }
    }

    /// A session begins with activity.
    fn check_start(&self, ending: &Ending, cluster: &Cluster) -> Verdict {
        let Some(start) = ending.started_at else {
            return Ok(());
        };
        let mut facts = self.about(ending.partition, &ending.session);
        let begins = |fact: &Fact| {
            let then = (fact.earliest..=fact.latest).contains(&start);
            fact.is_activity() && then && !aborted(cluster, fact)
        };
        // Activity that a restore has assumed.
        if facts.any(begins) || start <= self.assumed[index(ending.partition)] {
            return Ok(());
        }
        Err(format!("began with nothing: {ending:?}"))
    }

    /// No active session ends: activity that was appended before deadline and lateness has
    /// counted.
    fn check_no_activity(&self, ending: &Ending, cluster: &Cluster, rules: &Rules) -> Verdict {
        let (Some(last), Some(start)) = (ending.last_activity, ending.started_at) else {
            return Err(format!("timed out without having been active: {ending:?}"));
        };
        let in_time = ending.ended_at + self.settings.allowed_lateness.min(rules.shortest());
        for fact in self.about(ending.partition, &ending.session) {
            // What has been deleted is known to have happened before it was deleted, but
            // not by how much an event's time was ahead of that.
            let unknowable = fact.deleted && fact.earliest > fact.appended;
            let ignored = fact.is_activity()
                && fact.appended < in_time
                && fact.earliest >= start
                && (last + 1..ending.ended_at).contains(&fact.earliest)
                && !unknowable
                && !fact.lost
                && !self.is_refused(fact)
                && self.is_awaited(fact)
                && !aborted(cluster, fact);
            // Unless a record before it had proved that the session was over.
            let proved = || {
                let mut others = self.about(ending.partition, &ending.session);
                let before = |other: &Fact| other.offset.is_some() && other.offset < fact.offset;
                others.any(|other| before(other) && other.latest >= in_time)
            };
            if ignored && (fact.is_forwarded() || !proved()) {
                return Err(format!(
                    "ended an active session: {ending:?} in spite of {fact:?}"
                ));
            }
        }
        Ok(())
    }

    /// The `last_activity` of the ending is the time of a record.
    fn check_last_activity(&self, ending: &Ending, cluster: &Cluster) -> Verdict {
        let facts = self.about(ending.partition, &ending.session);
        let own = facts.filter(|fact| fact.is_activity() && !aborted(cluster, fact));
        let latest = own.map(|fact| fact.latest).max();
        let latest = latest.max(Some(self.assumed[index(ending.partition)]));
        if ending.last_activity.max(ending.started_at) <= latest {
            return Ok(());
        }
        Err(format!(
            "active at a time at which nothing happened: {ending:?}"
        ))
    }

    /// A logout or a revocation precedes the ending.
    fn check_asked_for(&self, ending: &Ending, cluster: &Cluster) -> Verdict {
        let mut enders = self.concerning(ending.partition, &ending.session);
        let asked = enders.any(|fact| {
            fact.is_end()
                && (fact.earliest..=fact.latest).contains(&ending.ended_at)
                && !aborted(cluster, fact)
        });
        if asked {
            return Ok(());
        }
        Err(format!("ended without a logout: {ending:?}"))
    }

    /// The session ended when its policy says.
    fn check_deadline(&self, ending: &Ending, rules: &Rules) -> Verdict {
        let Some(policy) = rules.find(&ending.policy.0, ending.policy.1) else {
            return Err(format!("under a policy that never was: {ending:?}"));
        };
        let right = match (ending.reason, policy.absolute_timeout) {
            (EndReason::AbsoluteTimeout, Some(absolute)) => {
                let begun = ending.ended_at - absolute.as_millis();
                let mut facts = self.about(ending.partition, &ending.session);
                ending.started_at == Some(begun)
                    || facts.any(|fact| {
                        let then = (fact.earliest..=fact.latest).contains(&begun);
                        fact.kind == EventKind::Login && then
                    })
            }
            (EndReason::IdleTimeout, _) => {
                let idle = policy.idle_timeout.as_millis();
                ending.last_activity.map(|last| last + idle) == Some(ending.ended_at)
            }
            _ => false,
        };
        if right && !policy.suspend {
            return Ok(());
        }
        Err(format!(
            "not the deadline that its policy sets: {ending:?}, {policy:?}"
        ))
    }
}
