//! This process's lease to a partition, as the events under way in it see it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Lasts from a partition's assignment to its release.
///
/// At the release, events that lie before one that has been begun may still begin: only
/// without gaps can what is finished be committed, and what is not committed is done
/// again by the partition's next owner.
#[derive(Debug, Default)]
pub struct PartitionLease {
    released: CancellationToken,
    /// The highest offset of an event that has been begun.
    furthest: Mutex<Option<i64>>,
}

impl PartitionLease {
    /// Whether the event at `offset` may be begun; if so, it is.
    pub fn begin(&self, offset: i64) -> bool {
        let mut furthest = self.furthest();
        let may = *furthest >= Some(offset) || !self.released.is_cancelled();
        if may {
            *furthest = (*furthest).max(Some(offset));
        }
        may
    }

    /// Nothing further out is begun from now on.
    pub fn release(&self) {
        let _frozen = self.furthest();
        self.released.cancel();
    }

    /// Whether [`PartitionLease::release`] has been called.
    pub fn is_released(&self) -> bool {
        self.released.is_cancelled()
    }

    /// Returns once the lease is released.
    pub async fn released(&self) {
        self.released.cancelled().await;
    }

    /// Returns once the event at `offset` may no longer be begun.
    pub async fn lost(&self, offset: i64) {
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
        let lease = PartitionLease::default();
        assert!(lease.begin(3));
        assert!(lease.begin(7));
        lease.release();
        assert!(lease.begin(5));
        assert!(lease.begin(7));
        assert!(!lease.begin(8));
        assert!(lease.begin(0));
    }

    #[test]
    fn nothing_begins_in_a_claim_that_was_released_untouched() {
        let lease = PartitionLease::default();
        lease.release();
        assert!(!lease.begin(0));
    }

    #[tokio::test]
    async fn who_waits_for_a_turn_hears_that_it_will_not_come() {
        let lease = PartitionLease::default();
        assert!(lease.begin(5));
        lease.release();
        tokio::select! {
            biased;
            () = lease.lost(4) => panic!("its turn will come"),
            () = lease.lost(6) => {}
        }
    }
}
