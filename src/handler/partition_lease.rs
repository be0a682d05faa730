//! This process's right to run actions for the records of a partition.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Held from a partition's assignment until its release. Each assignment has its own lease.
///
/// After the release, only events at lower offsets than an event that has begun may still
/// begin. Commits cover contiguous offsets only, so without these events the partition's next
/// owner would repeat the later ones.
#[derive(Debug)]
pub struct PartitionLease {
    partition: i32,
    released: CancellationToken,
    /// The highest offset of an event that has begun.
    furthest: Mutex<Option<i64>>,
}

impl PartitionLease {
    #[must_use]
    pub fn new(partition: i32) -> Self {
        Self {
            partition,
            released: CancellationToken::new(),
            furthest: Mutex::default(),
        }
    }

    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Begins the event at `offset`. Returns false if it may no longer begin.
    pub fn begin(&self, offset: i64) -> bool {
        let mut furthest = self.furthest();
        let allowed = *furthest >= Some(offset) || !self.released.is_cancelled();
        if allowed {
            *furthest = (*furthest).max(Some(offset));
        }
        allowed
    }

    /// Releases the partition: no event beyond the furthest one begins after this call.
    pub fn release(&self) {
        let _frozen = self.furthest();
        self.released.cancel();
    }

    /// Returns whether [`PartitionLease::release`] has been called.
    pub fn is_released(&self) -> bool {
        self.released.is_cancelled()
    }

    /// Completes when the lease is released.
    pub async fn released(&self) {
        self.released.cancelled().await;
    }

    /// Completes when the event at `offset` may no longer begin.
    pub async fn expired(&self, offset: i64) {
        self.released.cancelled().await;
        if *self.furthest() >= Some(offset) {
            std::future::pending::<()>().await;
        }
    }

    fn furthest(&self) -> MutexGuard<'_, Option<i64>> {
        self.furthest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_release_only_gaps_are_filled() {
        let lease = PartitionLease::new(0);
        assert!(lease.begin(3));
        assert!(lease.begin(7));
        lease.release();
        assert!(lease.begin(5));
        assert!(lease.begin(7));
        assert!(!lease.begin(8));
        assert!(lease.begin(0));
    }

    #[test]
    fn no_event_begins_under_a_lease_that_was_released_untouched() {
        let lease = PartitionLease::new(0);
        lease.release();
        assert!(!lease.begin(0));
    }

    #[tokio::test]
    async fn a_waiting_event_is_notified_when_it_may_no_longer_begin() {
        let lease = PartitionLease::new(0);
        assert!(lease.begin(5));
        lease.release();
        tokio::select! {
            biased;
            () = lease.expired(4) => panic!("the event may still begin"),
            () = lease.expired(6) => {}
        }
    }
}
