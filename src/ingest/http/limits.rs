//! How much may be written.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::args::HttpArgs;
use crate::clock::Clock;

/// Requests that are answered at once; a further one is to come again.
const MAX_REQUESTS: u32 = 512;

/// Bounds of the HTTP port.
pub struct Limits {
    rate: f64,
    clock: Clock,
    buckets: Mutex<HashMap<Arc<str>, Bucket>>,
    requests: Arc<Semaphore>,
}

/// Events that a token may still write, and when that was computed. A request is let through while
/// there are any, however many events it has, so the next ones wait longer.
#[derive(Clone, Copy)]
struct Bucket {
    events: f64,
    at: Duration,
}

impl Limits {
    /// Creates the limits of the flags.
    #[must_use]
    pub fn new(args: &HttpArgs, clock: Clock) -> Self {
        Self {
            rate: f64::from(args.http_rate_limit),
            clock,
            buckets: Mutex::default(),
            requests: Arc::new(Semaphore::new(MAX_REQUESTS as usize)),
        }
    }

    /// Counts a request until the permit is dropped; `None` if there are too many, or the process
    /// stops.
    #[must_use]
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.requests).try_acquire_owned().ok()
    }

    /// Refuses further requests, and waits until the others have been answered.
    pub async fn drain(&self) {
        let all = self.requests.acquire_many(MAX_REQUESTS).await;
        drop(all);
        self.requests.close();
    }

    /// Takes `events` from what the token `name` may write.
    ///
    /// # Errors
    /// The seconds after which it may write again.
    pub fn take(&self, name: &Arc<str>, events: usize) -> Result<(), u64> {
        let now = self.clock.elapsed();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let full = Bucket {
            events: self.rate,
            at: now,
        };
        let bucket = buckets.entry(Arc::clone(name)).or_insert(full);
        let passed = now.saturating_sub(bucket.at).as_secs_f64();
        bucket.events = (bucket.events + passed * self.rate).min(self.rate);
        bucket.at = now;
        if bucket.events <= 0.0 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a few seconds"
            )]
            return Err((-bucket.events / self.rate).ceil().max(1.0) as u64);
        }
        #[expect(clippy::cast_precision_loss, reason = "bounded by the body")]
        let taken = events as f64;
        bucket.events -= taken;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        http: HttpArgs,
    }

    #[test]
    fn a_token_beyond_its_rate_waits_for_its_debt() {
        let flags = Flags::parse_from(["test", "--http-rate-limit", "10"]);
        let limits = Limits::new(&flags.http, Clock::default());
        let (one, other) = ("one".into(), "other".into());
        assert_eq!(limits.take(&one, 50), Ok(()));
        assert_eq!(limits.take(&one, 1), Err(4));
        assert_eq!(limits.take(&other, 1), Ok(()));
    }

    #[tokio::test]
    async fn a_drained_port_lets_no_request_in() {
        let flags = Flags::parse_from(["test"]);
        let limits = Limits::new(&flags.http, Clock::default());
        let permit = limits.enter().unwrap();
        let drain = limits.drain();
        tokio::pin!(drain);
        let mut context = Context::from_waker(Waker::noop());
        assert!(drain.as_mut().poll(&mut context).is_pending());
        assert!(limits.enter().is_none());
        drop(permit);
        drain.await;
        assert!(limits.enter().is_none());
    }
}
