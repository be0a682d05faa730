//! Reconciles the policy topic and the statuses of policies with the API server, in stages:
//! fetch, [`validate`](super::validate), [`diff`](super::diff), [`apply`](super::apply).
//!
//! Each reconciliation covers all policies. It runs when policies in the API server, records in
//! the topic or reports of trackers change, and compares the desired state with the observed
//! one: if nothing differs, nothing is written.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use kube::api::DynamicObject;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::apply::{Applier, ApplyError, WriteBackoff, status_of};
use super::conditions::{self, PolicyStatusInput, SESSIONS_INTERVAL, differ_in_more_than_sessions};
use super::diff::diff;
use super::metrics::PolicyGauges;
use super::published::EndOffsetProbe;
use super::rollout::{Rollout, TrackerRegistry};
use super::validate::{Ambiguity, Validation, ambiguities, validate};
use super::watch::{PolicyCache, Scope, WatchEvent};
use crate::clock::Clock;
use crate::health::{Health, Heartbeat};
use crate::policy::document::SessionPolicyStatus;
use crate::wire::routing::RoutingKey;
use crate::wire::time;

/// Interval of reconciliations without an event: reports and backoffs expire silently.
const RESYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Events within this time are reconciled together.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How long process reports may be missing before statuses report it.
const REPORTS_TIMEOUT: Duration = Duration::from_secs(15);
/// The backoff key of writes to the policy topic. Names of policies have no space.
const TOPIC_KEY: &str = "the topic";

/// The event sources of the reconciler.
pub struct ReconcilerInputs {
    pub scope: Scope,
    pub events: BoxStream<'static, WatchEvent>,
    pub probe: watch::Receiver<EndOffsetProbe>,
    pub trackers: watch::Receiver<TrackerRegistry>,
    /// The routing key of the trackers.
    pub routing_key: RoutingKey,
    /// Whether this process is the leader.
    pub leads: watch::Receiver<bool>,
    /// The identity in this process's reports.
    pub own_id: String,
}

/// Reconciles the policy topic and the statuses with the API server.
pub struct Reconciler {
    inputs: ReconcilerInputs,
    applier: Applier,
    policies: PolicyCache,
    backoff: WriteBackoff,
    /// The last status written of each policy.
    written: BTreeMap<String, Written>,
    /// When process reports were last current, on the clock.
    reports_current_at: Duration,
    /// When this process became the leader, on the clock.
    leads_since: Option<Duration>,
    clock: Clock,
    health: Health,
}

impl Reconciler {
    #[must_use]
    pub fn new(inputs: ReconcilerInputs, applier: Applier, clock: Clock, health: Health) -> Self {
        let policies = PolicyCache::new(&inputs.scope);
        Self {
            inputs,
            applier,
            policies,
            backoff: WriteBackoff::default(),
            written: BTreeMap::new(),
            reports_current_at: Duration::ZERO,
            leads_since: None,
            clock,
            health,
        }
    }

    /// Reconciles until `stop`. Writes in progress are completed.
    pub async fn run(mut self, stop: CancellationToken, heartbeat: Heartbeat) {
        let mut published = self.applier.published.clone();
        let mut resync = tokio::time::interval(RESYNC_INTERVAL);
        resync.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            heartbeat.beat();
            tokio::select! {
                Some(event) = self.inputs.events.next() => self.policies.apply(&self.inputs.scope, event),
                Ok(()) = published.changed() => {}
                Ok(()) = self.inputs.trackers.changed() => {}
                Ok(()) = self.inputs.leads.changed() => {}
                _ = resync.tick() => {}
                () = stop.cancelled() => break,
            }
            self.apply_pending_events().await;
            self.update_health();
            if self.update_leadership()
                && let Some(known) = self.policies.known(&self.inputs.scope)
            {
                let result = self.reconcile(&known).await;
                self.applier.metrics.reconciled(result.is_ok());
                if let Err(error) = result {
                    tracing::warn!(%error, "reconciliation incomplete; retrying");
                }
            }
        }
    }

    /// Applies further events until the debounce time is over.
    async fn apply_pending_events(&mut self) {
        let apply = async {
            while let Some(event) = self.inputs.events.next().await {
                self.policies.apply(&self.inputs.scope, event);
            }
        };
        let _elapsed = tokio::time::timeout(DEBOUNCE, apply).await;
    }

    fn update_leadership(&mut self) -> bool {
        let leads = *self.inputs.leads.borrow_and_update();
        self.applier.metrics.set_leader(leads);
        self.leads_since = leads.then(|| self.leads_since.unwrap_or_else(|| self.clock.elapsed()));
        leads
    }

    fn update_health(&self) {
        let scope = &self.inputs.scope;
        let failing = self.policies.failing(scope);
        let failing: Vec<_> = failing
            .map(|(name, error)| format!("{name}: {error}"))
            .collect();
        let failing = (!failing.is_empty()).then(|| failing.join("; "));
        match &failing {
            Some(errors) if self.policies.fails() => {
                self.health.set_not_ready("kubernetes", errors.clone());
            }
            _ if self.policies.known(scope).is_none() => self
                .health
                .set_not_ready("kubernetes", "listing the policies"),
            _ => self.health.set_ready("kubernetes"),
        }
        match failing {
            Some(errors) => self.health.set_note("namespaces", errors),
            None => self.health.remove_note("namespaces"),
        }
        match &self.inputs.probe.borrow().end {
            Ok(_) => self.health.set_ready("kafka"),
            Err(error) => self.health.set_not_ready("kafka", error.clone()),
        }
    }

    /// Reconciles the policies of the `known` namespaces.
    async fn reconcile(&mut self, known: &Scope) -> Result<(), ApplyError> {
        let since = self.leads_since.unwrap_or_default();
        let probe = self.inputs.probe.borrow().clone();
        let mut kafka_error = probe.end.as_ref().err().cloned();
        let current = self.applier.published.borrow().is_current(&probe, since)
            && self.applier.has_read_back(&probe);
        if !current && kafka_error.is_none() {
            // The topic is still being read.
            return Ok(());
        }
        let validation = self.validate(known);
        let mut result = Ok(());
        if current {
            result = self.publish(known, &validation).await;
            if let Err(ApplyError::Topic(error)) = &result {
                kafka_error = Some(error.clone());
            }
        }
        if matches!(result, Err(ApplyError::NotLeading)) {
            return result;
        }
        let now = self.clock.elapsed();
        if self
            .inputs
            .trackers
            .borrow()
            .is_current(&self.inputs.own_id, now)
        {
            self.reports_current_at = now;
        } else if kafka_error.is_none() {
            if now.saturating_sub(self.reports_current_at.max(since)) < REPORTS_TIMEOUT {
                return result;
            }
            kafka_error = Some("process reports cannot be read; check that their topic exists (sundown topics create)".to_owned());
        }
        let updated = self
            .update_statuses(known, &validation, kafka_error.as_deref())
            .await;
        result.and(updated)
    }

    fn validate(&self, known: &Scope) -> Validation {
        let published = self.applier.published.borrow();
        let foreign = published.values.keys();
        let foreign = foreign.filter(|name| !known.owns(name)).count();
        validate(
            self.policies.objects(),
            &published.values,
            foreign,
            self.inputs.routing_key,
        )
    }

    /// Reconciles the policy topic.
    async fn publish(&mut self, known: &Scope, validation: &Validation) -> Result<(), ApplyError> {
        let writes = {
            let published = self.applier.published.borrow();
            let objects = self.policies.objects();
            diff(known, objects, validation, &published.values)
        };
        let now = self.clock.elapsed();
        if writes.is_empty() {
            self.backoff.reset(TOPIC_KEY);
            return Ok(());
        }
        if !self.backoff.permits(TOPIC_KEY, now) {
            let problem = "the last write failed; the next attempt is backing off";
            return Err(ApplyError::Topic(problem.to_owned()));
        }
        let result = self.applier.write_records(&writes).await;
        match result {
            Ok(()) => self.backoff.reset(TOPIC_KEY),
            Err(_) => {
                let now = self.clock.elapsed();
                let _first = self.backoff.record_failure(TOPIC_KEY, now);
            }
        }
        result
    }

    /// Reconciles the statuses.
    async fn update_statuses(
        &mut self,
        known: &Scope,
        validation: &Validation,
        kafka_error: Option<&str>,
    ) -> Result<(), ApplyError> {
        let now = self.clock.elapsed();
        let wall = time::format(self.clock.wall());
        let updates = self.status_updates(known, validation, kafka_error, &wall);
        self.set_gauges(&updates);
        let names: Vec<_> = updates.iter().map(|update| update.name.clone()).collect();
        self.backoff
            .retain(|key| key == TOPIC_KEY || names.iter().any(|name| name == key));
        self.written.retain(|name, _| names.contains(name));
        let mut result = Ok(());
        for update in updates {
            let previous = status_of(&update.object);
            let due = differ_in_more_than_sessions(&previous, &update.status)
                || previous != update.status && self.sessions_due(&update.name, now);
            if !due || !self.backoff.permits(&update.name, now) {
                continue;
            }
            self.back_off_from_others(&update, &previous, now);
            let (object, status) = (&update.object, &update.status);
            match self.applier.write_status(object, status).await {
                Ok(updated) => {
                    self.applier.publish_events(object, &previous, status).await;
                    self.policies.put(updated);
                    let at = self.clock.elapsed();
                    let status = update.status;
                    self.written.insert(update.name, Written { at, status });
                }
                Err(ApplyError::NotLeading) => return Err(ApplyError::NotLeading),
                Err(error) => {
                    // The API server rejects the status of an object that violates the
                    // definition, as after a change of it, but accepts an event.
                    let now = self.clock.elapsed();
                    if self.backoff.record_failure(&update.name, now) {
                        self.applier.publish_events(object, &previous, status).await;
                    }
                    result = Err(error);
                }
            }
        }
        result
    }

    /// Backs off if another process has written a status since this one did, as the controller of
    /// another release does that uses the same policy: without it, both would write for ever.
    fn back_off_from_others(
        &mut self,
        update: &StatusUpdate,
        observed: &SessionPolicyStatus,
        now: Duration,
    ) {
        let name = &update.name;
        let overwritten = self.written.get(name).is_some_and(|written| {
            written.status.observed_generation == observed.observed_generation
                && differ_in_more_than_sessions(&written.status, observed)
        });
        if !overwritten {
            self.backoff.reset(name);
        } else if self.backoff.record_failure(name, now) {
            tracing::warn!(
                policy = name,
                "another process changes the status of this policy; if two releases use it, distinguish their policies with --policy-selector"
            );
        }
    }

    fn sessions_due(&self, name: &str, now: Duration) -> bool {
        let last = self.written.get(name);
        last.is_none_or(|last| now.saturating_sub(last.at) >= SESSIONS_INTERVAL)
    }

    fn status_updates(
        &self,
        known: &Scope,
        validation: &Validation,
        kafka_error: Option<&str>,
        wall: &str,
    ) -> Vec<StatusUpdate> {
        let published = self.applier.published.borrow();
        let trackers = self.inputs.trackers.borrow();
        let now = self.clock.elapsed();
        let foreign = published.store.documents();
        let foreign = foreign.filter(|(name, _)| !known.owns(name));
        let foreign = foreign.map(|(name, document)| (name, &document.spec));
        let ambiguities = ambiguities(&validation.valid, foreign);
        let objects = self.policies.objects().iter();
        objects
            .map(|(name, object)| {
                let generation = object.metadata.generation.unwrap_or(1);
                let rollout = trackers.rollout(name, u64::try_from(generation).unwrap_or(1), now);
                let valid = validation.valid.get(name);
                let input = PolicyStatusInput {
                    generation,
                    rejection: validation.rejected.get(name),
                    active_generation: published.active_generation(name),
                    published: valid
                        .is_some_and(|policy| policy.is_published(published.values.get(name))),
                    kafka_error,
                    rollout: &rollout,
                    ambiguity: ambiguities.get(name).unwrap_or(&Ambiguity::None),
                };
                StatusUpdate {
                    name: name.clone(),
                    object: object.clone(),
                    ready: input.rejection.is_none() && input.published,
                    status: conditions::status(&input, &status_of(object), wall),
                    rollout,
                }
            })
            .collect()
    }

    fn set_gauges(&self, updates: &[StatusUpdate]) {
        let gauges = updates.iter().map(|update| PolicyGauges {
            name: &update.name,
            generation: update.object.metadata.generation.unwrap_or(1),
            sessions: update.rollout.sessions,
            trackers: update.rollout.applied,
            ready: update.ready,
        });
        let gauges: Vec<_> = gauges.collect();
        self.applier.metrics.set_policies(&gauges);
    }
}

/// A status that this process has written.
struct Written {
    /// When, on the clock.
    at: Duration,
    status: SessionPolicyStatus,
}

/// The desired status of a policy.
struct StatusUpdate {
    name: String,
    object: DynamicObject,
    ready: bool,
    status: SessionPolicyStatus,
    rollout: Rollout,
}
