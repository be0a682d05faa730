//! The policies, including all earlier generations.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sundown::session::{Attributes, Matcher, Policy, PolicySet, Span};

/// The tenants of users.
pub(crate) const TENANTS: [&str; 2] = ["acme", "globex"];

/// Policies over time.
#[derive(Debug)]
pub(crate) struct Rules {
    generation: u64,
    pub(crate) active: Arc<PolicySet>,
    /// By name and generation.
    known: BTreeMap<(String, u64), Policy>,
}

impl Rules {
    /// Draws policies that may be edited.
    pub(crate) fn new(rng: &mut ChaCha8Rng) -> Self {
        let mut rules = Self::empty();
        rules.edit(rng, true);
        rules
    }

    /// Draws one policy for each tenant, named like it.
    pub(crate) fn of_tenants(rng: &mut ChaCha8Rng, max_sessions: Option<u32>) -> Self {
        let mut rules = Self::empty();
        let policies = TENANTS.map(|tenant| Policy {
            name: tenant.to_owned(),
            matcher: of_tenant(tenant),
            max_sessions,
            ..rules.rule(rng, 0)
        });
        let mut fallback = rules.rule(rng, 9);
        fallback.matcher = Matcher::default();
        rules.put(policies.to_vec(), fallback);
        rules
    }

    fn empty() -> Self {
        let fallback = Policy::built_in(Span::from_secs(1), None);
        let set = PolicySet::new(Vec::new(), fallback).expect("one policy");
        Self {
            generation: 0,
            active: Arc::new(set),
            known: BTreeMap::new(),
        }
    }

    /// Other policies come into force.
    pub(crate) fn edit(&mut self, rng: &mut ChaCha8Rng, may_suspend: bool) {
        self.generation += 1;
        let count = rng.random_range(0..3);
        let mut policies: Vec<Policy> = (0..count).map(|number| self.rule(rng, number)).collect();
        for policy in &mut policies {
            policy.suspend = may_suspend && rng.random_ratio(1, 12);
        }
        let mut fallback = self.rule(rng, 9);
        fallback.matcher = Matcher::default();
        self.put(policies, fallback);
    }

    /// Whatever is suspended is so no more.
    pub(crate) fn resume(&mut self) {
        self.generation += 1;
        let mut policies: Vec<Policy> = self.active.iter().map(|it| (**it).clone()).collect();
        for policy in &mut policies {
            policy.suspend = false;
            policy.generation = self.generation;
        }
        let fallback = policies.pop().expect("there is always one");
        self.put(policies, fallback);
    }

    pub(crate) fn find(&self, name: &str, generation: u64) -> Option<&Policy> {
        self.known.get(&(name.to_owned(), generation))
    }

    /// The timeouts of the active policies by name: idle and absolute.
    pub(crate) fn timeouts(&self) -> BTreeMap<String, (i64, Option<i64>)> {
        let timeouts = |policy: &Policy| {
            let absolute = policy.absolute_timeout.map(Span::as_millis);
            (policy.idle_timeout.as_millis(), absolute)
        };
        let active = self.active.iter();
        active
            .map(|policy| (policy.name.clone(), timeouts(policy)))
            .collect()
    }

    /// The shortest time in which any policy there was ends a session.
    pub(crate) fn shortest(&self) -> i64 {
        let span = |policy: &Policy| {
            let idle = policy.idle_timeout;
            idle.min(policy.absolute_timeout.unwrap_or(idle))
                .as_millis()
        };
        self.known.values().map(span).min().unwrap_or_default()
    }

    fn put(&mut self, policies: Vec<Policy>, fallback: Policy) {
        for policy in policies.iter().chain([&fallback]) {
            let name = (policy.name.clone(), policy.generation);
            self.known.insert(name, policy.clone());
        }
        self.active = Arc::new(PolicySet::new(policies, fallback).expect("few policies"));
    }

    fn rule(&self, rng: &mut ChaCha8Rng, number: u32) -> Policy {
        let idle = rng.random_range(2_000..12_000);
        let absolute = rng.random_range(idle..25_000);
        let tenant = TENANTS[rng.random_range(0..2)];
        let any = rng.random_ratio(1, 2);
        Policy {
            name: format!("policy-{number}"),
            generation: self.generation,
            priority: rng.random_range(0..3),
            idle_timeout: Span::from_millis(idle),
            absolute_timeout: rng.random_ratio(1, 3).then(|| Span::from_millis(absolute)),
            warn_before: rng.random_ratio(1, 2).then(|| Span::from_millis(idle / 2)),
            max_sessions: None,
            matcher: if any {
                Matcher::default()
            } else {
                of_tenant(tenant)
            },
            suspend: false,
        }
    }
}

fn of_tenant(tenant: &str) -> Matcher {
    Matcher {
        attributes: Attributes::new([("tenant", tenant)]).expect("one small attribute"),
        user_ids: Vec::new(),
    }
}
