//! Reconciles the policy topic and the statuses of a kind of resource with the API server, in
//! stages: fetch, [`validate`](super::validate), [`diff`](super::diff), [`apply`](super::apply).
//!
//! Each reconciliation covers all resources of the kind. It runs when resources in the API server,
//! records in the topic or reports of processes change, and compares the desired state with the
//! observed one: if nothing differs, nothing is written.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::apply::{Applier, ApplyError, WriteBackoff};
use super::brake::Brake;
use super::diff::diff;
use super::published::EndOffsetProbe;
use super::resource_kind::{ResourceKind, ResourceStatus, StatusInputs, StatusUpdate, status_of};
use super::rollout::ProcessRegistry;
use super::scope::Scope;
use super::validate::Validation;
use super::watch::{ResourceCache, WatchEvent};
use crate::clock::Clock;
use crate::health::{Health, Heartbeat};
use crate::wire::time;

/// Interval of reconciliations without an event: reports and backoffs expire silently.
const RESYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Events within this time are reconciled together.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How long process reports may be missing before statuses report it.
const REPORTS_TIMEOUT: Duration = Duration::from_secs(15);
/// The backoff key of writes to the policy topic. Names of resources have no space.
const TOPIC_KEY: &str = "the topic";

/// The event sources of the reconciler.
pub struct ReconcilerInputs {
    pub scope: Scope,
    pub events: BoxStream<'static, WatchEvent>,
    pub probe: watch::Receiver<EndOffsetProbe>,
    pub processes: watch::Receiver<ProcessRegistry>,
    /// Whether this process is the leader.
    pub leads: watch::Receiver<bool>,
    /// The identity in this process's reports.
    pub own_id: String,
}

/// Reconciles the policy topic and the statuses of a kind with the API server.
pub struct Reconciler<K: ResourceKind> {
    kind: K,
    inputs: ReconcilerInputs,
    applier: Applier,
    brake: Brake,
    resources: ResourceCache,
    backoff: WriteBackoff,
    /// The last status written of each resource.
    written: BTreeMap<String, Written<K::Status>>,
    /// When process reports were last current, on the clock.
    reports_current_at: Duration,
    /// When this process became the leader, on the clock.
    leads_since: Option<Duration>,
    clock: Clock,
    health: Health,
}

impl<K: ResourceKind> Reconciler<K> {
    #[must_use]
    pub fn new(
        kind: K,
        inputs: ReconcilerInputs,
        (applier, brake): (Applier, Brake),
        clock: Clock,
        health: Health,
    ) -> Self {
        let resources = ResourceCache::new::<K>(&inputs.scope);
        Self {
            kind,
            inputs,
            applier,
            brake,
            resources,
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
                Some(event) = self.inputs.events.next() => self.resources.apply(&self.inputs.scope, event),
                Ok(()) = published.changed() => {}
                Ok(()) = self.inputs.processes.changed() => {}
                Ok(()) = self.inputs.leads.changed() => {}
                _ = resync.tick() => {}
                () = stop.cancelled() => break,
            }
            self.apply_pending_events().await;
            self.update_health();
            if self.update_leadership()
                && let Some(known) = self.resources.known(&self.inputs.scope)
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
                self.resources.apply(&self.inputs.scope, event);
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
        let failing = self.resources.failing(scope);
        let failing: Vec<_> = failing
            .map(|(name, error)| format!("{name}: {error}"))
            .collect();
        let failing = (!failing.is_empty()).then(|| failing.join("; "));
        if K::REQUIRED {
            match &failing {
                Some(errors) if self.resources.fails() => {
                    self.health.set_not_ready("kubernetes", errors.clone());
                }
                _ if self.resources.known(scope).is_none() => self
                    .health
                    .set_not_ready("kubernetes", format!("listing the {}", K::PLURAL)),
                _ => self.health.set_ready("kubernetes"),
            }
        }
        let note = format!("namespaces of {}", K::PLURAL);
        match failing {
            Some(errors) => self.health.set_note(note, errors),
            None => self.health.remove_note(&note),
        }
        match &self.inputs.probe.borrow().end {
            Ok(_) => self.health.set_ready("kafka"),
            Err(error) => self.health.set_not_ready("kafka", error.clone()),
        }
    }

    /// Reconciles the resources of the `known` namespaces.
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
        let mut validation = self.validate(known);
        let mut result = Ok(());
        if current {
            self.hold_mass_endings(&mut validation).await;
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
            .processes
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

    fn validate(&self, known: &Scope) -> Validation<K::Spec> {
        let published = self.applier.published.borrow();
        let objects = self.resources.objects();
        self.kind.validate(known, objects, &published)
    }

    /// Rejects changes that would end too many sessions at once.
    async fn hold_mass_endings(&mut self, validation: &mut Validation<K::Spec>) {
        let names = K::can_end_sessions(validation, &self.applier.published.borrow());
        let now = self.clock.elapsed();
        let trackers = self.inputs.processes.borrow().trackers(now);
        let objects = self.resources.objects();
        let hold = self.brake.hold(names, validation, objects, &trackers, now);
        hold.await;
    }

    /// Reconciles the policy topic.
    async fn publish(
        &mut self,
        known: &Scope,
        validation: &Validation<K::Spec>,
    ) -> Result<(), ApplyError> {
        let writes = {
            let published = self.applier.published.borrow();
            let objects = self.resources.objects();
            diff(known, objects, validation, K::values(&published))
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
        validation: &Validation<K::Spec>,
        kafka_error: Option<&str>,
    ) -> Result<(), ApplyError> {
        let now = self.clock.elapsed();
        let wall = time::format(self.clock.wall());
        let updates = self.kind.statuses(&StatusInputs {
            known,
            objects: self.resources.objects(),
            validation,
            published: &self.applier.published.borrow(),
            processes: &self.inputs.processes.borrow(),
            kafka_error,
            now,
            wall: &wall,
        });
        K::show(&self.applier.metrics, &updates);
        let names: Vec<_> = updates.iter().map(|update| update.name.clone()).collect();
        self.backoff
            .retain(|key| key == TOPIC_KEY || names.iter().any(|name| name == key));
        self.written.retain(|name, _| names.contains(name));
        let mut result = Ok(());
        for update in updates {
            let previous: K::Status = status_of(&update.object);
            let due = previous.differs_in_more_than_counts(&update.status)
                || previous != update.status && self.counts_due(&update.name, now);
            if !due || !self.backoff.permits(&update.name, now) {
                continue;
            }
            self.back_off_from_others(&update, &previous, now);
            let (object, status) = (&update.object, &update.status);
            match self.applier.write_status(object, status).await {
                Ok(updated) => {
                    publish_events(&self.applier, &update, &previous).await;
                    self.resources.put(updated);
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
                        publish_events(&self.applier, &update, &previous).await;
                    }
                    result = Err(error);
                }
            }
        }
        result
    }

    /// Backs off if another process has written a status since this one did, as the controller of
    /// another release does that uses the same resource: without it, both would write for ever.
    fn back_off_from_others(
        &mut self,
        update: &StatusUpdate<K::Status>,
        observed: &K::Status,
        now: Duration,
    ) {
        let name = &update.name;
        let overwritten = self.written.get(name).is_some_and(|written| {
            written.status.observed_generation() == observed.observed_generation()
                && written.status.differs_in_more_than_counts(observed)
        });
        if !overwritten {
            self.backoff.reset(name);
        } else if self.backoff.record_failure(name, now) {
            tracing::warn!(
                kind = K::KIND,
                name,
                "another process changes the status of this resource; if two releases use it, distinguish their resources with --policy-selector"
            );
        }
    }

    fn counts_due(&self, name: &str, now: Duration) -> bool {
        let last = self.written.get(name);
        last.is_none_or(|last| now.saturating_sub(last.at) >= K::COUNTS_INTERVAL)
    }
}

async fn publish_events<S: ResourceStatus>(
    applier: &Applier,
    update: &StatusUpdate<S>,
    previous: &S,
) {
    let (previous, conditions) = (previous.conditions(), update.status.conditions());
    let published = applier.publish_events(&update.object, previous, conditions);
    published.await;
}

/// A status that this process has written.
struct Written<Status> {
    /// When, on the clock.
    at: Duration,
    status: Status,
}
