//! Checks of one terminal event against the log.

use sundown::session::{EndReason, Span, Timestamp};
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
    /// Of the record that the session started with.
    pub(super) start: i64,
    pub(super) session: String,
    pub(super) reason: EndReason,
    policy: (String, u64),
    started_at: Option<i64>,
    pub(super) last_activity: Option<i64>,
    pub(super) ended_at: i64,
    /// When a reader of committed records could first see it.
    pub(super) seen_at: i64,
}

impl Ending {
    pub(super) fn new(event: SessionEnded, start: &Fact, seen_at: i64) -> Self {
        let millis = |text: &str| time::parse(text).map(Timestamp::as_millis);
        Self {
            partition: start.partition,
            start: start.offset,
            reason: event.reason,
            policy: (event.policy.name, event.policy.generation),
            started_at: event.started_at.as_deref().and_then(millis),
            last_activity: event.last_activity.as_deref().and_then(millis),
            ended_at: millis(&event.ended_at).unwrap_or(i64::MIN),
            session: event.session_id,
            seen_at,
        }
    }
}

impl Oracle {
    pub(super) fn check_ending(
        &self,
        ending: &Ending,
        cluster: &Cluster,
        rules: &Rules,
    ) -> Verdict {
        self.check_once(ending)?;
        self.check_start(ending, cluster)?;
        if timed_out(ending.reason) {
            check_deadline(ending, rules)?;
            self.check_no_activity(ending, cluster)?;
        } else {
            self.check_asked_for(ending, cluster)?;
        }
        self.check_last_activity(ending, cluster)
    }

    /// Exactly one terminal event.
    fn check_once(&self, ending: &Ending) -> Verdict {
        let same =
            |other: &&Ending| other.partition == ending.partition && other.start == ending.start;
        match self.endings.iter().find(same) {
            Some(other) => Err(format!("ended twice: {ending:?} after {other:?}")),
            None => Ok(()),
        }
    }

    /// A record starts a session only if the one before it under the same id is over by
    /// then.
    fn check_start(&self, ending: &Ending, cluster: &Cluster) -> Verdict {
        let facts = self.about(ending.partition, &ending.session);
        let mut facts = facts.filter(|fact| fact.offset == ending.start);
        let Some(start) = facts.next().filter(|fact| !aborted(cluster, fact)) else {
            return Err(format!("started by an aborted record: {ending:?}"));
        };
        let same = |other: &&Ending| {
            other.partition == ending.partition && other.session == ending.session
        };
        let others = || self.endings.iter().filter(same);
        let before = others().filter(|other| other.start < ending.start);
        if let Some(before) = before.max_by_key(|other| other.start) {
            self.check_succession(before, start)?;
        }
        Ok(())
    }

    fn check_succession(&self, before: &Ending, start: &Fact) -> Verdict {
        let over = if timed_out(before.reason) {
            // A later record may have proved the end before this one.
            let proof = self.enders(before.partition, &before.session).any(|fact| {
                (before.start + 1..=start.offset).contains(&fact.offset)
                    && fact.latest >= before.ended_at
            });
            proof || start.appended >= before.ended_at + self.settings.allowed_lateness
        } else {
            let mut enders = self.enders(before.partition, &before.session);
            enders.any(|fact| fact.is_end() && (before.start..start.offset).contains(&fact.offset))
        };
        if over {
            return Ok(());
        }
        Err(format!(
            "{start:?} started a session while that of {before:?} ran"
        ))
    }

    /// No active session ends: activity that was appended before deadline and lateness has
    /// counted.
    fn check_no_activity(&self, ending: &Ending, cluster: &Cluster) -> Verdict {
        let Some(last) = ending.last_activity else {
            return Err(format!("timed out without having been active: {ending:?}"));
        };
        let in_time = ending.ended_at + self.settings.allowed_lateness;
        for fact in self.about(ending.partition, &ending.session) {
            // What has been deleted is known to have happened before it was deleted, but
            // not by how much an event's time was ahead of that.
            let unknowable = fact.deleted && fact.earliest > fact.appended;
            let ignored = fact.is_activity()
                && fact.offset > ending.start
                && fact.appended < in_time
                && (last + 1..ending.ended_at).contains(&fact.earliest)
                && !unknowable
                && !aborted(cluster, fact);
            // Unless a record before it had proved that the session was over.
            let proved = || {
                let mut enders = self.enders(ending.partition, &ending.session);
                enders.any(|other| {
                    (ending.start + 1..fact.offset).contains(&other.offset)
                        && other.latest >= ending.ended_at
                })
            };
            if ignored && !proved() {
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
        let own = facts.filter(|fact| {
            fact.is_activity() && fact.offset >= ending.start && !aborted(cluster, fact)
        });
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
        let mut enders = self.enders(ending.partition, &ending.session);
        let asked = enders.any(|fact| {
            fact.is_end()
                && fact.offset >= ending.start
                && (fact.earliest..=fact.latest).contains(&ending.ended_at)
                && !aborted(cluster, fact)
        });
        if asked {
            return Ok(());
        }
        Err(format!("ended without a logout: {ending:?}"))
    }
}

/// The session ended when its policy says.
fn check_deadline(ending: &Ending, rules: &Rules) -> Verdict {
    let Some(policy) = rules.find(&ending.policy.0, ending.policy.1) else {
        return Err(format!("under a policy that never was: {ending:?}"));
    };
    let at = |millis: Option<i64>| Timestamp::from_millis(millis.unwrap_or(i64::MIN / 2));
    let idle = at(ending.last_activity) + policy.idle_timeout;
    let forever = Span::from_millis(i64::MAX);
    let absolute = at(ending.started_at) + policy.absolute_timeout.unwrap_or(forever);
    if !policy.suspend && idle.min(absolute).as_millis() == ending.ended_at {
        return Ok(());
    }
    Err(format!(
        "not the deadline that its policy sets: {ending:?}, {policy:?}"
    ))
}
