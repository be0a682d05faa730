//! Who leads: the holder of a Lease, as Kubernetes' own controllers elect one.
//!
//! A candidate takes the lease over once it has seen no change of it for as long as the
//! lease says, by its own monotonic clock: what the machines' wall clocks show does not
//! matter. Every update names the version that it is of, so of several candidates at the
//! same moment one succeeds.
//!
//! A leader counts from *before* it asks for a renewal, and only to four fifths of the
//! duration. So it has stopped before anybody else can start, even if it was frozen in
//! between: it asks [`Leadership::permits`] right before each write, and gives a write no
//! longer than [`Leadership::write_limit`].

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
use crate::health::Heartbeat;

/// Which lease, and in whose name.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The Lease's name.
    pub lease: String,
    /// Unique among all processes, past ones included.
    pub identity: String,
    /// How long a leader may be silent.
    pub duration: Duration,
}

/// Whether this process leads. Clones share it.
#[derive(Clone, Debug)]
pub struct Leadership {
    clock: Clock,
    /// Milliseconds on the clock; 0 for none.
    until: Arc<AtomicU64>,
    write_limit: Duration,
}

impl Leadership {
    /// How long this process surely still leads.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let until = Duration::from_millis(self.until.load(Ordering::SeqCst));
        let left = until.checked_sub(self.clock.elapsed())?;
        (!left.is_zero()).then_some(left)
    }

    /// Whether a write may begin now: it will be over, one way or the other, before
    /// anybody else can lead.
    #[must_use]
    pub fn permits(&self) -> bool {
        self.remaining().is_some_and(|left| left > self.write_limit)
    }

    /// The longest that a write may take.
    #[must_use]
    pub fn write_limit(&self) -> Duration {
        self.write_limit
    }
}

/// Takes part in the election.
pub struct Election {
    api: Api<Lease>,
    candidate: Candidate,
    leadership: Leadership,
    leads: watch::Sender<bool>,
    /// The version of the lease last seen, and when it was first seen.
    seen: Option<(String, Duration)>,
}

impl Election {
    /// An election by the leases of a namespace.
    #[must_use]
    pub fn new(api: Api<Lease>, candidate: Candidate, clock: Clock) -> Self {
        let leadership = Leadership {
            clock,
            until: Arc::default(),
            write_limit: candidate.duration / 5,
        };
        Self {
            api,
            candidate,
            leadership,
            leads: watch::Sender::new(false),
            seen: None,
        }
    }

    /// Whether this process leads.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Tells when it begins or ceases to lead.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.leads.subscribe()
    }

    /// Takes part until `stop`, then gives the lease back, so that another one need not
    /// wait for it to run out. Whoever writes has to have stopped by then.
    pub async fn run(mut self, stop: CancellationToken, pulse: Heartbeat) {
        let pause = self.candidate.duration / 5;
        while !stop.is_cancelled() {
            pulse.beat();
            self.take_part(pause).await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
        if self.leadership.remaining().is_some() {
            self.leadership.until.store(0, Ordering::SeqCst);
            let released = tokio::time::timeout(pause, self.release()).await;
            if !matches!(released, Ok(Ok(()))) {
                tracing::warn!("the lease could not be given back; it runs out by itself");
            }
        }
    }

    /// One round: renews the lease or tries to get it, and tells what came of it.
    async fn take_part(&mut self, limit: Duration) {
        let asked_at = self.leadership.clock.elapsed();
        let held = match tokio::time::timeout(limit, self.acquire()).await {
            Ok(Ok(held)) => held,
            Ok(Err(error)) => {
                let lease = &self.candidate.lease;
                tracing::warn!(%error, lease, "the lease cannot be asked for; check the controller's rights to leases");
                return self.tell();
            }
            Err(_) => {
                tracing::warn!("the API server does not answer in time for the lease");
                return self.tell();
            }
        };
        let until = asked_at + self.candidate.duration * 4 / 5;
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        let until = if held { until } else { 0 };
        self.leadership.until.store(until, Ordering::SeqCst);
        self.tell();
    }

    fn tell(&self) {
        let leads = self.leadership.remaining().is_some();
        let identity = &self.candidate.identity;
        self.leads.send_if_modified(|told| {
            let changed = *told != leads;
            if changed && leads {
                tracing::info!(identity, "leading: this controller writes");
            } else if changed {
                tracing::warn!(identity, "not leading any more: another controller writes");
            }
            *told = leads;
            changed
        });
    }

    /// Whether the lease is this process's now.
    async fn acquire(&mut self) -> kube::Result<bool> {
        let name = self.candidate.lease.clone();
        let Some(mut lease) = self.api.get_opt(&name).await? else {
            let lease = self.claim(Lease::default());
            return accepted(self.api.create(&PostParams::default(), &lease).await);
        };
        if !self.free(&lease) {
            return Ok(false);
        }
        lease.metadata.managed_fields = None;
        let claim = self.claim(lease);
        accepted(
            self.api
                .replace(&name, &PostParams::default(), &claim)
                .await,
        )
    }

    /// Whether the lease is this process's, nobody's, or its holder's time is up.
    fn free(&mut self, lease: &Lease) -> bool {
        let now = self.leadership.clock.elapsed();
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => {
                self.seen = Some((version, now));
                now
            }
        };
        let Some(spec) = &lease.spec else { return true };
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        if holder.is_empty() || holder == self.candidate.identity {
            return true;
        }
        let seconds = spec.lease_duration_seconds.unwrap_or_default();
        let patience = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        now.saturating_sub(since) >= patience
    }

    /// The lease with this process as its holder.
    fn claim(&self, lease: Lease) -> Lease {
        let now = Some(self.now());
        let before = lease.spec.unwrap_or_default();
        let again = before.holder_identity.as_ref() == Some(&self.candidate.identity);
        // The first holder is no transition.
        let transitions = before
            .lease_transitions
            .map_or(0, |so_far| so_far + i32::from(!again));
        Lease {
            metadata: ObjectMeta {
                name: Some(self.candidate.lease.clone()),
                ..lease.metadata
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.candidate.identity.clone()),
                lease_duration_seconds: i32::try_from(self.candidate.duration.as_secs()).ok(),
                acquire_time: if again {
                    before.acquire_time
                } else {
                    now.clone()
                },
                renew_time: now,
                lease_transitions: Some(transitions),
                ..before
            }),
        }
    }

    async fn release(&self) -> kube::Result<()> {
        let mut lease = self.api.get(&self.candidate.lease).await?;
        lease.metadata.managed_fields = None;
        if let Some(spec) = &mut lease.spec
            && spec.holder_identity.as_ref() == Some(&self.candidate.identity)
        {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
            let params = PostParams::default();
            self.api
                .replace(&self.candidate.lease, &params, &lease)
                .await?;
        }
        Ok(())
    }

    /// For people who look at the lease.
    fn now(&self) -> MicroTime {
        let millis = self.leadership.clock.wall().as_millis();
        MicroTime(jiff::Timestamp::from_millisecond(millis).unwrap_or_default())
    }
}

/// Whether a write was accepted; not so if another one was faster.
fn accepted(answer: kube::Result<Lease>) -> kube::Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
