//! Checks of one ending by the session limit of a user against the log.

use std::collections::BTreeSet;

use super::ending::Ending;
use super::{Oracle, Verdict, aborted};
use crate::cluster::Cluster;
use crate::facts::Fact;
use crate::model::Target;
use crate::rules::Rules;

impl Oracle {
    /// The allowed lateness before it ended, another session of its user began, and the user had more
    /// sessions by then than the policy allows.
    pub(super) fn check_limit(&self, ending: &Ending, cluster: &Cluster, rules: &Rules) -> Verdict {
        let policy = rules.find(&ending.policy.0, ending.policy.1);
        let Some(limit) = policy.and_then(|policy| policy.max_sessions) else {
            return Err(format!("ended by a limit that never was: {ending:?}"));
        };
        let Some(user) = self
            .about(ending.partition, &ending.session)
            .find_map(user_of)
        else {
            return Err(format!("ended by a limit without a user: {ending:?}"));
        };
        let began = ending.ended_at - self.settings.allowed_lateness;
        let of_user = |fact: &&Fact| {
            let here = fact.partition == ending.partition && user_of(fact) == Some(user);
            here && fact.is_activity() && fact.earliest <= began && !aborted(cluster, fact)
        };
        let facts: Vec<&Fact> = self.facts.iter().filter(of_user).collect();
        let begins = |fact: &&Fact| {
            fact.earliest == began && fact.session.as_deref() != Some(&*ending.session)
        };
        if !facts.iter().any(begins) {
            return Err(format!("ended by a limit when nothing began: {ending:?}"));
        }
        let sessions: BTreeSet<_> = facts.iter().map(|fact| &fact.session).collect();
        if sessions.len() <= limit as usize {
            return Err(format!("ended by a limit that was not reached: {ending:?}"));
        }
        Ok(())
    }
}

fn user_of(fact: &Fact) -> Option<&str> {
    match &fact.event.as_ref()?.target {
        Target::Session { user, .. } => Some(user),
        Target::User { .. } | Target::Match { .. } => None,
    }
}
