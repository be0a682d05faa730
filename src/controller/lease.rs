//! Leader election by a Lease, as in Kubernetes' own controllers.
//!
//! A candidate acquires the lease when it has not observed a renewal for the lease duration, by
//! its own monotonic clock; wall clocks do not matter. Updates carry the resource version of the
//! lease, so one of several concurrent candidates succeeds.
//!
//! The leader counts four fifths of the duration from *before* it requests a renewal. So it
//! stops before another candidate can start, even if it was suspended in between: it checks
//! [`Leadership::permits`] before each write, and bounds each write by
//! [`Leadership::write_timeout`].
//!
//! A missing lease is created. It may have been deleted under a leader that does not know yet, so
//! its creator leads only after the lease duration, unless it was the leader itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::health::{Health, Heartbeat};

/// Parameters of an election.
#[derive(Clone, Debug)]
pub struct ElectionConfig {
    pub lease_name: String,
    /// The identity of this candidate, unique among all processes ever.
    pub identity: String,
    /// How long after the leader's last renewal another candidate takes over.
    pub lease_duration: Duration,
}

/// Whether this process is the leader; clones share it.
#[derive(Clone, Debug)]
pub struct Leadership {
    clock: Clock,
    /// The end of the leadership in milliseconds on the clock; 0 if not leading.
    until: Arc<AtomicU64>,
    write_timeout: Duration,
}

impl Leadership {
    /// The time on the clock.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// How long this process certainly remains the leader.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let until = Duration::from_millis(self.until.load(Ordering::SeqCst));
        let remaining = until.checked_sub(self.clock.elapsed())?;
        (!remaining.is_zero()).then_some(remaining)
    }

    /// Returns whether a write may start now: it succeeds or times out before another process
    /// can become the leader.
    #[must_use]
    pub fn permits(&self) -> bool {
        self.remaining()
            .is_some_and(|remaining| remaining > self.write_timeout)
    }

    /// The bound of each write.
    #[must_use]
    pub fn write_timeout(&self) -> Duration {
        self.write_timeout
    }
}

/// The name of the readiness condition.
const CONDITION: &str = "lease";

/// Participates in the election.
pub struct Election {
    api: Api<Lease>,
    config: ElectionConfig,
    leadership: Leadership,
    leads: watch::Sender<bool>,
    /// The last observed resource version of the lease, and when it was first observed.
    observed: Option<(String, Duration)>,
    /// Until when another leader may not know that its lease is gone, on the clock.
    fenced_until: Duration,
    /// When the API server last answered, on the clock.
    answered_at: Duration,
    health: Health,
}

impl Election {
    /// Creates an election by a lease in the namespace of `api`. A process that can neither lead
    /// nor see who does is not ready.
    #[must_use]
    pub fn new(api: Api<Lease>, config: ElectionConfig, clock: Clock, health: Health) -> Self {
        health.set_not_ready(CONDITION, "looking for the lease");
        let leadership = Leadership {
            clock,
            until: Arc::default(),
            write_timeout: config.lease_duration / 5,
        };
        Self {
            api,
            config,
            leadership,
            leads: watch::Sender::new(false),
            observed: None,
            fenced_until: Duration::ZERO,
            answered_at: clock.elapsed(),
            health,
        }
    }

    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Whether this process is the leader, whenever that changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Participates until `stop`, then releases the lease, so that another candidate need not
    /// wait until it expires. All writes must have ended by then.
    pub async fn run(mut self, stop: CancellationToken, heartbeat: Heartbeat) {
        let retry_period = self.config.lease_duration / 5;
        while !stop.is_cancelled() {
            heartbeat.beat();
            self.renew_or_acquire(retry_period).await;
            tokio::select! {
                () = tokio::time::sleep(retry_period) => {}
                () = stop.cancelled() => {}
            }
        }
        if self.leadership.remaining().is_some() {
            self.leadership.until.store(0, Ordering::SeqCst);
            let released = tokio::time::timeout(retry_period, self.release()).await;
            if !matches!(released, Ok(Ok(()))) {
                tracing::warn!("cannot release the lease; it will expire");
            }
        }
    }

    /// Tries once to renew or acquire the lease, and publishes the result.
    async fn renew_or_acquire(&mut self, timeout: Duration) {
        let requested_at = self.leadership.clock.elapsed();
        let held = match tokio::time::timeout(timeout, self.try_acquire()).await {
            Ok(Ok(held)) => held,
            Ok(Err(error)) => {
                let lease = &self.config.lease_name;
                tracing::warn!(%error, lease, "cannot acquire the lease; check that the controller is authorized to get, create and update leases");
                return self.failed(&format!("cannot acquire the lease {lease}: {error}; check that the controller is authorized to get, create and update leases"));
            }
            Err(_) => {
                tracing::warn!("the API server timed out on the lease");
                return self.failed("the API server timed out on the lease");
            }
        };
        self.answered_at = requested_at;
        self.health.set_ready(CONDITION);
        let until = requested_at + self.config.lease_duration * 4 / 5;
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        let leads = held && requested_at >= self.fenced_until;
        let until = if leads { until } else { 0 };
        self.leadership.until.store(until, Ordering::SeqCst);
        self.publish();
    }

    /// Without an answer for the lease duration, this process neither leads nor stands by.
    fn failed(&self, reason: &str) {
        let silence = self
            .leadership
            .clock
            .elapsed()
            .saturating_sub(self.answered_at);
        if silence >= self.config.lease_duration {
            self.health.set_not_ready(CONDITION, reason);
        }
        self.publish();
    }

    fn publish(&self) {
        let leads = self.leadership.remaining().is_some();
        let identity = &self.config.identity;
        self.leads.send_if_modified(|published| {
            let changed = *published != leads;
            if changed && leads {
                tracing::info!(identity, "became the leader");
            } else if changed {
                tracing::warn!(identity, "lost the leadership");
            }
            *published = leads;
            changed
        });
    }

    /// Returns whether this process holds the lease now.
    async fn try_acquire(&mut self) -> kube::Result<bool> {
        let name = self.config.lease_name.clone();
        let Some(mut lease) = self.api.get_opt(&name).await? else {
            let lease = self.held(Lease::default());
            let created = self.api.create(&PostParams::default(), &lease).await;
            if self.leadership.remaining().is_none() {
                let now = self.leadership.clock.elapsed();
                self.fenced_until = now + self.config.lease_duration;
            }
            return is_accepted(created);
        };
        if !self.is_available(&lease) {
            return Ok(false);
        }
        lease.metadata.managed_fields = None;
        let lease = self.held(lease);
        is_accepted(
            self.api
                .replace(&name, &PostParams::default(), &lease)
                .await,
        )
    }

    /// Returns whether the lease is held by this process, has no holder, or has expired.
    fn is_available(&mut self, lease: &Lease) -> bool {
        let now = self.leadership.clock.elapsed();
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.observed {
            Some((observed, since)) if *observed == version => *since,
            _ => {
                self.observed = Some((version, now));
                now
            }
        };
        let Some(spec) = &lease.spec else { return true };
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == self.config.identity {
            return true;
        }
        let seconds = spec.lease_duration_seconds.unwrap_or_default();
        let lease_duration = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        now.saturating_sub(since) >= lease_duration
    }

    /// Returns the lease with this process as its holder.
    fn held(&self, lease: Lease) -> Lease {
        let now = Some(self.now());
        let previous = lease.spec.unwrap_or_default();
        let renewal = previous.holder_identity.as_ref() == Some(&self.config.identity);
        // The first acquisition is not a transition.
        let transitions = previous
            .lease_transitions
            .map_or(0, |count| count + i32::from(!renewal));
        Lease {
            metadata: ObjectMeta {
                name: Some(self.config.lease_name.clone()),
                ..lease.metadata
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.config.identity.clone()),
                lease_duration_seconds: i32::try_from(self.config.lease_duration.as_secs()).ok(),
                acquire_time: if renewal {
                    previous.acquire_time
                } else {
                    now.clone()
                },
                renew_time: now,
                lease_transitions: Some(transitions),
                ..previous
            }),
        }
    }

    async fn release(&self) -> kube::Result<()> {
        let mut lease = self.api.get(&self.config.lease_name).await?;
        lease.metadata.managed_fields = None;
        if let Some(spec) = &mut lease.spec
            && spec.holder_identity.as_ref() == Some(&self.config.identity)
        {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            let params = PostParams::default();
            self.api
                .replace(&self.config.lease_name, &params, &lease)
                .await?;
        }
        Ok(())
    }

    /// The wall-clock time, for display only.
    fn now(&self) -> MicroTime {
        let millis = self.leadership.clock.wall().as_millis();
        MicroTime(jiff::Timestamp::from_millisecond(millis).unwrap_or_default())
    }
}

/// Returns whether a write succeeded; a concurrent write is no error.
fn is_accepted(response: kube::Result<Lease>) -> kube::Result<bool> {
    match response {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
