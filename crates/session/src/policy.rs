//! Policies, and which policy applies to a session.

mod counts;
mod glob;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::attributes::Attributes;
use super::reason::EndReason;
use super::time::{Span, Timestamp};

pub(super) use counts::PolicyCounts;
pub use glob::Glob;

/// How long a session may last: a compiled `SessionPolicy`.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// `namespace/name` in Kubernetes, the bare name elsewhere.
    pub name: String,
    /// Rises with every change of the policy; 0 for the built-in one.
    pub generation: u64,
    /// The matching policy with the highest priority applies; ties are broken by name.
    pub priority: i32,
    /// The longest time without activity; more than zero.
    pub idle_timeout: Span,
    /// The longest time since the start or the last login; more than zero.
    pub absolute_timeout: Option<Span>,
    /// How long before the deadline to warn; less than the idle timeout.
    pub warn_before: Option<Span>,
    /// How many sessions under the policy a user may have; more than zero.
    pub max_sessions: Option<u32>,
    /// The sessions to which the policy applies.
    pub matcher: Matcher,
    /// Incident switch: while set, sessions under the policy never time out. Logouts and
    /// revocations still end them.
    pub suspend: bool,
}

impl Policy {
    /// Returns the policy of sessions that no other policy matches.
    #[must_use]
    pub fn built_in(idle_timeout: Span, absolute_timeout: Option<Span>) -> Self {
        Self {
            name: "built-in".to_owned(),
            generation: 0,
            priority: i32::MIN,
            idle_timeout,
            absolute_timeout,
            warn_before: None,
            max_sessions: None,
            matcher: Matcher::default(),
            suspend: false,
        }
    }

    /// Returns when and why a session ends without further activity.
    ///
    /// If both timeouts pass at the same time, the reason is the absolute one: activity
    /// could not have kept the session.
    #[must_use]
    pub fn deadline(
        &self,
        authenticated_at: Timestamp,
        last_activity: Timestamp,
    ) -> (Timestamp, EndReason) {
        if self.suspend {
            return (Timestamp::MAX, EndReason::IdleTimeout);
        }
        let idle = last_activity + self.idle_timeout;
        match self
            .absolute_timeout
            .map(|timeout| authenticated_at + timeout)
        {
            Some(absolute) if absolute <= idle => (absolute, EndReason::AbsoluteTimeout),
            _ => (idle, EndReason::IdleTimeout),
        }
    }
}

impl Policy {
    /// Returns how many sessions a user may have, if that ends any.
    #[must_use]
    pub fn session_limit(&self) -> Option<usize> {
        let limit = self.max_sessions.filter(|_| !self.suspend)?;
        usize::try_from(limit).ok()
    }

    /// Returns how long after its deadline a session waits for events that happened before it:
    /// the allowed lateness, but no longer than a timeout. Otherwise an event could be late and yet
    /// older than the session that it belongs to may become.
    #[must_use]
    pub fn lateness(&self, allowed: Span) -> Span {
        let timeout = self.absolute_timeout.unwrap_or(self.idle_timeout);
        allowed.min(self.idle_timeout).min(timeout)
    }
}

/// Selects sessions; an empty matcher matches all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matcher {
    /// Attributes that the session must have, with exactly these values.
    pub attributes: Attributes,
    /// Patterns of which the user id must match one; if empty, any user matches.
    pub user_ids: Vec<Glob>,
}

impl Matcher {
    fn matches(&self, user: &str, attributes: Option<&Attributes>) -> bool {
        self.attributes.are_subset_of(attributes)
            && (self.user_ids.is_empty() || self.user_ids.iter().any(|glob| glob.matches(user)))
    }
}

/// The place of a policy in its [`PolicySet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyIndex(u16);

/// The active policies in order of precedence; the last one matches every session.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicySet(Vec<Arc<Policy>>);

/// A set exceeds [`PolicySet::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} policies, more than the limit of {}: remove some",
    PolicySet::MAX
)]
pub struct TooManyPolicies {
    /// The number of policies given.
    pub count: usize,
}

impl PolicySet {
    /// The bound on the number of active policies.
    pub const MAX: usize = 1_000;

    /// Orders `policies` by precedence and appends `fallback` for sessions that none of them matches.
    ///
    /// # Errors
    /// [`TooManyPolicies`] beyond [`PolicySet::MAX`].
    pub fn new(mut policies: Vec<Policy>, mut fallback: Policy) -> Result<Self, TooManyPolicies> {
        if policies.len() > Self::MAX {
            return Err(TooManyPolicies {
                count: policies.len(),
            });
        }
        policies.sort_by(|a, b| {
            let precedence = |policy: &Policy| Reverse(policy.priority);
            (precedence(a), &a.name).cmp(&(precedence(b), &b.name))
        });
        fallback.matcher = Matcher::default();
        policies.push(fallback);
        Ok(Self(policies.into_iter().map(Arc::new).collect()))
    }

    /// Returns the policy for a session of `user` with these attributes.
    #[must_use]
    pub fn resolve(&self, user: &str, attributes: Option<&Attributes>) -> PolicyIndex {
        let found = self
            .0
            .iter()
            .position(|policy| policy.matcher.matches(user, attributes));
        // The last one matches everything.
        let index = found.unwrap_or(self.0.len() - 1);
        #[expect(clippy::cast_possible_truncation, reason = "at most MAX + 1 policies")]
        PolicyIndex(index as u16)
    }

    /// Returns the names of the policies with a session limit.
    pub fn session_limits(&self) -> impl Iterator<Item = &str> {
        let limited = self.0.iter().filter(|policy| policy.max_sessions.is_some());
        limited.map(|policy| policy.name.as_str())
    }

    /// Returns the same policies without session limits.
    #[must_use]
    pub fn without_session_limits(&self) -> Self {
        let unlimited = |policy: &Arc<Policy>| Policy {
            max_sessions: None,
            ..Policy::clone(policy)
        };
        Self(self.0.iter().map(unlimited).map(Arc::new).collect())
    }

    /// Returns the same policies with changes by name: another policy of that name, or none.
    ///
    /// # Errors
    /// [`TooManyPolicies`] beyond [`PolicySet::MAX`].
    pub fn with_changes<'a>(
        &self,
        changes: impl IntoIterator<Item = (&'a str, Option<Policy>)>,
    ) -> Result<Self, TooManyPolicies> {
        // The last one is the fallback.
        let (named, fallback) = self.0.split_at(self.0.len() - 1);
        let mut policies: Vec<Policy> = named.iter().map(|one| Policy::clone(one)).collect();
        for (name, changed) in changes {
            policies.retain(|policy| policy.name != name);
            policies.extend(changed);
        }
        Self::new(policies, Policy::clone(&fallback[0]))
    }

    /// Iterates over the policies in order of precedence.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.0.iter()
    }

    /// Returns the policy at `index`; the last one for an index of another set.
    #[must_use]
    pub(super) fn get(&self, index: PolicyIndex) -> &Arc<Policy> {
        &self.0[usize::from(index.0).min(self.0.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn policy(name: &str, priority: i32, matcher: Matcher) -> Policy {
        Policy {
            name: name.to_owned(),
            generation: 1,
            priority,
            matcher,
            ..Policy::built_in(Span::from_secs(60), None)
        }
    }

    fn tenant(name: &str) -> Matcher {
        Matcher {
            attributes: Attributes::new([("tenant", name)]).unwrap(),
            user_ids: Vec::new(),
        }
    }

    #[test]
    fn the_highest_priority_wins_and_names_break_ties() {
        let set = PolicySet::new(
            vec![
                policy("b", 1, Matcher::default()),
                policy("a", 1, Matcher::default()),
                policy("acme", 2, tenant("acme")),
            ],
            Policy::built_in(Span::from_secs(1), None),
        )
        .unwrap();
        let acme = Attributes::new([("tenant", "acme"), ("client", "web")]).unwrap();
        let name = |user, attributes| set.get(set.resolve(user, attributes)).name.clone();
        assert_eq!(name("u", Some(&acme)), "acme");
        assert_eq!(name("u", None), "a");
    }

    #[test]
    fn user_ids_are_matched_as_globs() {
        let matcher = Matcher {
            user_ids: vec![Glob::new("svc-*"), Glob::new("root")],
            ..Matcher::default()
        };
        let set = PolicySet::new(
            vec![policy("services", 0, matcher)],
            Policy::built_in(Span::from_secs(1), None),
        )
        .unwrap();
        let name = |user| set.get(set.resolve(user, None)).name.clone();
        assert_eq!(name("svc-backup"), "services");
        assert_eq!(name("root"), "services");
        assert_eq!(name("my-svc-1"), "built-in");
    }

    #[test]
    fn the_reason_is_the_absolute_timeout_if_both_pass_at_once() {
        let at = Timestamp::from_millis;
        let policy = Policy::built_in(Span::from_secs(10), Some(Span::from_secs(30)));
        assert_eq!(
            policy.deadline(at(0), at(5_000)),
            (at(15_000), EndReason::IdleTimeout)
        );
        assert_eq!(
            policy.deadline(at(0), at(20_000)),
            (at(30_000), EndReason::AbsoluteTimeout)
        );
        let suspended = Policy {
            suspend: true,
            ..policy
        };
        assert_eq!(suspended.deadline(at(0), at(0)).0, Timestamp::MAX);
    }
}
