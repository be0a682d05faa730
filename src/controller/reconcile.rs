//! Makes the policy topic and the policies' statuses agree with the API server, in stages:
//! fetch, [`validate`](super::validate), [`build`](super::build), [`apply`](super::apply).
//!
//! All policies are gone through together, whenever anything has changed: what is in the
//! API server, what is in the topic, what trackers report. Nothing is remembered that
//! could be wrong; what differs is written, so that a pass over an unchanged world writes
//! nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use kube::api::DynamicObject;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::apply::{Applier, ApplyError, Backoff, status_of};
use super::build;
use super::conditions::{self, PolicyState, SESSIONS_INTERVAL, differ_in_more_than_sessions};
use super::records::EndOffsetProbe;
use super::rollout::{Rollout, TrackerRegistry};
use super::validate::{Ambiguity, Validation, ambiguities, validate};
use super::watch::{Policies, Scope, WatchEvent};
use crate::clock::Clock;
use crate::controller::metrics::PolicyGauges;
use crate::health::{Health, Heartbeat};
use crate::policy::document::{SessionPolicy, SessionPolicyStatus};
use crate::wire::time;

/// How often to look without being told: reports and pauses run out silently.
const TICK: Duration = Duration::from_secs(1);
/// What changes within this time is gone through together.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How long to wait for process reports before saying that there are none to be had.
const REPORTS_WITHIN: Duration = Duration::from_secs(15);
/// What pauses when the topic cannot be written to.
const TOPIC: &str = "the topic";

/// What the reconciler goes by.
pub struct Inputs {
    /// Which namespaces are its.
    pub scope: Scope,
    /// What the API server tells.
    pub told: BoxStream<'static, WatchEvent>,
    /// What the brokers say of the policy topic.
    pub probe: watch::Receiver<EndOffsetProbe>,
    /// What the trackers report.
    pub trackers: watch::Receiver<TrackerRegistry>,
    /// Whether this process leads.
    pub leads: watch::Receiver<bool>,
    /// Under which name this process reports.
    pub own_id: String,
}

/// The reconciler.
pub struct Reconciler {
    inputs: Inputs,
    applier: Applier,
    policies: Policies,
    backoff: Backoff,
    /// When each status was last written, on the clock.
    written: BTreeMap<String, Duration>,
    /// When process reports were last to be had.
    reports_known: Duration,
    /// When this process began to lead.
    leads_since: Option<Duration>,
    clock: Clock,
    health: Health,
}

impl Reconciler {
    /// A reconciler that knows nothing yet.
    #[must_use]
    pub fn new(inputs: Inputs, applier: Applier, clock: Clock, health: Health) -> Self {
        let policies = Policies::new(&inputs.scope);
        Self {
            inputs,
            applier,
            policies,
            backoff: Backoff::default(),
            written: BTreeMap::new(),
            reports_known: Duration::ZERO,
            leads_since: None,
            clock,
            health,
        }
    }

    /// Reconciles until `stop`. What is being written then is written to its end.
    pub async fn run(mut self, stop: CancellationToken, pulse: Heartbeat) {
        let mut records = self.applier.records.clone();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            pulse.beat();
            tokio::select! {
                Some(told) = self.inputs.told.next() => self.policies.apply(&self.inputs.scope, told),
                Ok(()) = records.changed() => {}
                Ok(()) = self.inputs.trackers.changed() => {}
                Ok(()) = self.inputs.leads.changed() => {}
                _ = tick.tick() => {}
                () = stop.cancelled() => break,
            }
            self.take_in_the_rest().await;
            self.tell_health();
            if self.update_leadership() && self.policies.synced() {
                let outcome = self.pass().await;
                self.applier.metrics.reconciled(outcome.is_ok());
                if let Err(error) = outcome {
                    tracing::warn!(%error, "not all could be written; trying again");
                }
            }
        }
    }

    /// Many policies applied at once come as many events.
    async fn take_in_the_rest(&mut self) {
        let more = async {
            while let Some(told) = self.inputs.told.next().await {
                self.policies.apply(&self.inputs.scope, told);
            }
        };
        let _time_is_up = tokio::time::timeout(DEBOUNCE, more).await;
    }

    fn update_leadership(&mut self) -> bool {
        let leads = *self.inputs.leads.borrow_and_update();
        self.applier.metrics.leads(leads);
        self.leads_since = leads.then(|| self.leads_since.unwrap_or_else(|| self.clock.elapsed()));
        leads
    }

    fn tell_health(&self) {
        match (self.policies.trouble(), self.policies.synced()) {
            (Some(trouble), _) => self.health.set_not_ready("kubernetes", trouble),
            (None, false) => self
                .health
                .set_not_ready("kubernetes", "listing the policies"),
            (None, true) => self.health.set_ready("kubernetes"),
        }
        match &self.inputs.probe.borrow().end {
            Ok(_) => self.health.set_ready("kafka"),
            Err(trouble) => self.health.set_not_ready("kafka", trouble.clone()),
        }
    }

    /// Goes through all policies once.
    async fn pass(&mut self) -> Result<(), ApplyError> {
        let since = self.leads_since.unwrap_or_default();
        let probe = self.inputs.probe.borrow().clone();
        let mut kafka = probe.end.as_ref().err().cloned();
        let current = self.applier.records.borrow().current(&probe, since);
        if !current && kafka.is_none() {
            // In a moment: what the topic holds is being read.
            return Ok(());
        }
        let judged = self.validate();
        let mut outcome = Ok(());
        if current {
            outcome = self.publish(&judged).await;
            if let Err(ApplyError::Topic(trouble)) = &outcome {
                kafka = Some(trouble.clone());
            }
        }
        if matches!(outcome, Err(ApplyError::NotLeading)) {
            return outcome;
        }
        let now = self.clock.elapsed();
        if self
            .inputs
            .trackers
            .borrow()
            .knows(&self.inputs.own_id, now)
        {
            self.reports_known = now;
        } else if kafka.is_none() {
            if now.saturating_sub(self.reports_known.max(since)) < REPORTS_WITHIN {
                return outcome;
            }
            kafka = Some("no process reports can be read; check that the topic of process reports exists (sundown topics create)".to_owned());
        }
        outcome.and(self.tell(&judged, kafka.as_deref()).await)
    }

    fn validate(&self) -> Validation {
        let records = self.applier.records.borrow();
        let foreign = records.by_name.keys();
        let foreign = foreign.filter(|name| !self.inputs.scope.owns(name)).count();
        validate(self.policies.objects(), &records.by_name, foreign)
    }

    /// Makes the topic agree.
    async fn publish(&mut self, judged: &Validation) -> Result<(), ApplyError> {
        let writes = {
            let records = self.applier.records.borrow();
            let objects = self.policies.objects();
            build::writes(&self.inputs.scope, objects, judged, &records.by_name)
        };
        let now = self.clock.elapsed();
        if writes.is_empty() {
            self.backoff.forget(TOPIC);
            return Ok(());
        }
        if !self.backoff.permits(TOPIC, now) {
            let trouble = "the last write failed; the next one waits";
            return Err(ApplyError::Topic(trouble.to_owned()));
        }
        let outcome = self.applier.write_records(&writes).await;
        match outcome {
            Ok(()) => self.backoff.forget(TOPIC),
            Err(_) => {
                let _first = self.backoff.failed(TOPIC, self.clock.elapsed());
            }
        }
        outcome
    }

    /// Makes the statuses agree.
    async fn tell(&mut self, judged: &Validation, kafka: Option<&str>) -> Result<(), ApplyError> {
        let now = self.clock.elapsed();
        let today = time::format(self.clock.wall());
        let statuses = self.statuses(judged, kafka, &today);
        self.show(&statuses);
        let names: Vec<_> = statuses.iter().map(|told| told.name.clone()).collect();
        self.backoff
            .retain(|what| what == TOPIC || names.iter().any(|name| name == what));
        self.written.retain(|name, _| names.contains(name));
        let mut outcome = Ok(());
        for told in statuses {
            let before = status_of(&told.object);
            let due = differ_in_more_than_sessions(&before, &told.status)
                || before != told.status && self.sessions_due(&told.name, now);
            if !due || !self.backoff.permits(&told.name, now) {
                continue;
            }
            match self.applier.write_status(&told.object, &told.status).await {
                Ok(object) => {
                    self.applier
                        .tell_problems(&told.object, &before, &told.status)
                        .await;
                    self.policies.put(object);
                    self.backoff.forget(&told.name);
                    self.written.insert(told.name, self.clock.elapsed());
                }
                Err(ApplyError::NotLeading) => return Err(ApplyError::NotLeading),
                Err(error) => {
                    // An object that does not fit the definition, as it may have been
                    // before a change of it, takes no status. An event it does.
                    if self.backoff.failed(&told.name, self.clock.elapsed()) {
                        self.applier
                            .tell_problems(&told.object, &before, &told.status)
                            .await;
                    }
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    fn sessions_due(&self, name: &str, now: Duration) -> bool {
        let last = self.written.get(name);
        last.is_none_or(|last| now.saturating_sub(*last) >= SESSIONS_INTERVAL)
    }

    fn statuses(&self, judged: &Validation, kafka: Option<&str>, today: &str) -> Vec<StatusUpdate> {
        let records = self.applier.records.borrow();
        let trackers = self.inputs.trackers.borrow();
        let now = self.clock.elapsed();
        let scope = &self.inputs.scope;
        let ambiguities = ambiguities(&judged.valid, &records.by_name, |name| scope.owns(name));
        let objects = self.policies.objects().iter();
        objects
            .map(|(name, object)| {
                let generation = object.metadata.generation.unwrap_or(1);
                let spread = trackers.spread(name, u64::try_from(generation).unwrap_or(1), now);
                let record = records.by_name.get(name);
                let wanted = judged.valid.get(name).map(crate::policy::record::encode);
                let findings = PolicyState {
                    generation,
                    refusal: judged.refused.get(name),
                    published: record.and_then(|record| generation_of(record)),
                    up_to_date: wanted
                        .zip(record)
                        .is_some_and(|(wanted, record)| wanted.as_bytes() == record),
                    kafka,
                    spread: &spread,
                    ambiguity: ambiguities.get(name).unwrap_or(&Ambiguity::None),
                };
                StatusUpdate {
                    name: name.clone(),
                    object: object.clone(),
                    ready: findings.refusal.is_none() && findings.up_to_date,
                    status: conditions::status(&findings, &status_of(object), today),
                    spread,
                }
            })
            .collect()
    }

    fn show(&self, statuses: &[StatusUpdate]) {
        let gauges = statuses.iter().map(|told| PolicyGauges {
            name: &told.name,
            generation: told.object.metadata.generation.unwrap_or(1),
            sessions: told.spread.sessions,
            trackers: told.spread.applied,
            ready: told.ready,
        });
        self.applier.metrics.policies(&gauges.collect::<Vec<_>>());
    }
}

/// What is to be said of a policy.
struct StatusUpdate {
    name: String,
    object: DynamicObject,
    ready: bool,
    status: SessionPolicyStatus,
    spread: Rollout,
}

fn generation_of(record: &[u8]) -> Option<u64> {
    let document: SessionPolicy = serde_json::from_slice(record).ok()?;
    document.metadata.generation
}
