//! Bounds the memory that sessions take.

use std::time::Duration;

use crate::memory;

/// How often the memory is measured.
const INTERVAL: Duration = Duration::from_secs(1);

/// Compares the memory of the process with its bound.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    /// In bytes.
    limit: u64,
    measured_at: Option<Duration>,
    is_full: bool,
}

impl MemoryWatch {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            measured_at: None,
            is_full: false,
        }
    }

    /// Measures if that is due, and returns whether more memory may be taken for sessions if that
    /// has changed. `now` is of a clock that never goes back.
    pub(crate) fn check(&mut self, now: Duration) -> Option<bool> {
        let due = self
            .measured_at
            .is_none_or(|at| now.saturating_sub(at) >= INTERVAL);
        if !due {
            return None;
        }
        self.measured_at = Some(now);
        let resident = memory::resident()?;
        // Not back and forth around the bound.
        let bound = if self.is_full {
            self.limit / 100 * 95
        } else {
            self.limit
        };
        let is_full = resident >= bound;
        if is_full == self.is_full {
            return None;
        }
        self.is_full = is_full;
        let limit = self.limit;
        if is_full {
            tracing::error!(
                resident,
                limit,
                "the memory limit is reached: events that would start more sessions go to the dead-letter topic; raise the memory of the tracker or add trackers"
            );
        } else {
            tracing::info!(resident, limit, "sessions may take memory again");
        }
        Some(!is_full)
    }
}
