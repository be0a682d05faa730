//! What becomes of a partition from when the group gives it until the group takes it
//! away: it is restored, read, committed and given up. Whatever that needs of Kafka and
//! of clocks is behind [`Io`], so that a simulation runs the same code.

mod commit;
mod io;
mod rebalance;
mod restore;

use std::time::Duration;

use super::clocks::ClockHold;
use super::engine::{Engine, RestoreId};
use crate::session::{TableConfig, Timestamp};

pub use io::{Committed, Io, ManagerEvent, RestoreOutcome, RestoreResult};

/// The partitions that the group has given to this tracker, and what is under way for
/// them.
#[derive(Debug)]
pub struct PartitionManager<S> {
    engine: Engine,
    io: S,
    partition_count: i32,
    table: TableConfig,
    /// Partitions whose restore has not begun.
    waiting: Vec<(i32, RestoreId)>,
    /// Retention has deleted what was to be read next.
    log_truncated: bool,
}

impl<S: Io> PartitionManager<S> {
    /// No partitions yet. The source topic has `partition_count` of them; their tables go by
    /// `table`.
    #[must_use]
    pub fn new(engine: Engine, io: S, partition_count: i32, table: TableConfig) -> Self {
        Self {
            engine,
            io,
            partition_count,
            table,
            waiting: Vec::new(),
            log_truncated: false,
        }
    }

    /// The tracker's logic around the partitions.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The same, for applying records and taking counters.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// What it works with.
    #[must_use]
    pub fn io(&self) -> &S {
        &self.io
    }

    /// The same, to be changed.
    pub fn io_mut(&mut self) -> &mut S {
        &mut self.io
    }

    /// Ends it, and gives back what it worked with.
    #[must_use]
    pub fn into_io(self) -> S {
        self.io
    }

    /// The time beyond which no event can have happened yet, for
    /// [`Engine::apply`]: read it once per burst of records.
    #[must_use]
    pub fn now_upper(&self) -> Timestamp {
        self.engine.clocks().upper(self.io.reading())
    }

    /// Why nothing can be ended now, if so.
    #[must_use]
    pub fn clock_trouble(&self) -> Option<ClockHold> {
        let reading = self.io.reading();
        self.engine.clocks().lower(reading).err()
    }

    /// Retention has deleted what was to be read next; that is dealt with in the next
    /// [`round`](PartitionManager::round).
    pub fn log_truncated(&mut self) {
        self.log_truncated = true;
    }

    /// Deals with whatever has come about since the last round, and commits when it is
    /// time. To be called again and again, each time after the records that have arrived
    /// have been applied and rebalances have been dealt with.
    ///
    /// # Errors
    /// What cannot be mended by trying again: a checkpoint record that cannot be read.
    pub fn round(&mut self) -> anyhow::Result<()> {
        self.take_policies();
        self.take_pauses();
        self.take_restored()?;
        self.take_samples();
        self.take_ends();
        self.take_commit(Duration::ZERO);
        self.restore_truncated();
        self.commit_if_due();
        Ok(())
    }

    fn take_policies(&mut self) {
        while let Some(policies) = self.io.policies() {
            self.engine.set_policies(&policies);
            self.io.tell(ManagerEvent::Policies);
        }
    }

    /// A partition that is paused is not read, and nothing ends on it: to it, time stands
    /// still.
    fn take_pauses(&mut self) {
        while let Some(paused) = self.io.pauses() {
            if !paused.is_empty() {
                tracing::info!(partitions = ?paused, "paused by an operator");
            }
            let change = self.engine.set_paused(paused);
            self.io.pause(&change.pause);
            for (partition, position) in change.resume {
                self.read_on(partition, position);
            }
            self.io.tell(ManagerEvent::Pauses);
        }
    }

    fn take_samples(&mut self) {
        while let Some(sample) = self.io.sample() {
            if !self.engine.clocks().known() && sample.append_time.is_none() {
                self.io.tell(ManagerEvent::Unchecked);
            }
            self.engine.sampled(sample);
        }
    }

    /// Ends what the brokers' answer proves to be over.
    fn take_ends(&mut self) {
        let Some(answer) = self.io.ends() else {
            return;
        };
        self.step_past_control_records();
        let trouble = self.engine.on_end_offsets(&answer).err();
        self.io.tell(ManagerEvent::Clocks(trouble));
    }

    /// The consumer's position is behind transaction markers and aborted records, which
    /// it never delivers. All that it did deliver has been applied.
    fn step_past_control_records(&mut self) {
        for (partition, position) in self.io.positions() {
            self.engine.advance_position(partition, position);
        }
    }
}
