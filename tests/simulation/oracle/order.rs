//! Checks against the reference model, which sorts all events by event time and folds them.

use std::collections::{BTreeMap, BTreeSet};

use sundown::session::EndReason;

use super::{Oracle, Verdict, aborted};
use crate::cluster::Cluster;
use crate::model::{self, Edit, Ending, Event, Reason, Timeouts};
use crate::rules::Rules;

impl Oracle {
    /// At the end of a simulation in which events keep their order within the allowed lateness: the
    /// endings are those of the sorted events.
    pub(crate) fn order_is_irrelevant(&self, cluster: &Cluster, rules: &Rules) -> Verdict {
        if !self.settings.orderly {
            return Ok(());
        }
        let mut logs: BTreeMap<i32, Vec<Event>> = BTreeMap::new();
        for fact in self.facts.iter().filter(|fact| !aborted(cluster, fact)) {
            let log = logs.entry(fact.partition).or_default();
            log.extend(fact.event.clone());
        }
        let edit = Edit {
            at: i64::MIN,
            timeouts: Timeouts {
                by_tenant: rules.timeouts(),
                max_sessions: self.settings.user_sessions.map(|max| max as usize),
            },
        };
        let (grace, lateness) = (self.grace(), self.settings.allowed_lateness);
        for (partition, log) in logs {
            let facts = self.facts.iter();
            let late = facts.flat_map(|fact| self.forwarded_late(fact, rules));
            let unclear: BTreeSet<&str> = late.collect();
            let mut expected = model::endings(&log, std::slice::from_ref(&edit), grace, lateness);
            expected.retain(|one| !unclear.contains(&*one.session));
            let here = self.endings.iter().filter(|one| one.partition == partition);
            let here = here.filter(|one| !unclear.contains(&*one.session));
            let mut found: Vec<Ending> = here.map(as_in_the_model).collect();
            found.sort();
            if let Some(extra) = found.iter().find(|one| !expected.contains(one)) {
                return Err(format!("not an ending of the sorted events: {extra:?}"));
            }
            if let Some(missing) = expected.iter().find(|one| !found.contains(one)) {
                return Err(format!("no ending as of the sorted events: {missing:?}"));
            }
            if found.len() != expected.len() {
                return Err(format!("an ending of the sorted events twice: {found:?}"));
            }
        }
        Ok(())
    }
}

fn as_in_the_model(ending: &super::Ending) -> Ending {
    Ending {
        session: ending.session.clone(),
        reason: match ending.reason {
            EndReason::IdleTimeout => Reason::Idle,
            EndReason::AbsoluteTimeout => Reason::Absolute,
            EndReason::Logout => Reason::Logout,
            EndReason::Revoked => Reason::Revoked,
            EndReason::Rotated => Reason::Rotated,
            EndReason::SessionLimit => Reason::SessionLimit,
        },
        ended_at: ending.ended_at,
    }
}
