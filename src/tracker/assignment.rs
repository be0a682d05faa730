//! The partitions that the group has assigned to this tracker, from assignment to revocation:
//! restored, read, committed, and dropped. Everything that this needs of Kafka and of clocks
//! is behind [`Io`], so that a simulation runs the same code.

mod attempts;
mod commit;
mod io;
mod rebalance;
mod restore;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::engine::{Engine, RestoreId};
use super::state_hold::StateHold;
use crate::clock::clocks::ClockHold;
use crate::session::{TableConfig, Timestamp};

use attempts::RestoreAttempts;

pub use io::{CommitResult, Io, ManagerEvent, RestoreOutcome, RestoreResult};

/// Manages the assigned partitions, their restores and commits.
#[derive(Debug)]
pub struct PartitionManager<I> {
    engine: Engine,
    io: I,
    table: TableConfig,
    /// Partitions whose restore has not started.
    pending_restores: Vec<(i32, RestoreId)>,
    /// The partitions of the commit in progress.
    committing: BTreeSet<i32>,
    /// When failed restores are retried.
    attempts: RestoreAttempts,
    /// The partitions whose state is not used.
    held: BTreeMap<i32, StateHold>,
    /// Whether retention has deleted records that were not yet read, or all of them with their topic.
    log_truncated: bool,
}

impl<I: Io> PartitionManager<I> {
    /// Creates a manager without partitions; `table` configures the table of each.
    #[must_use]
    pub fn new(engine: Engine, io: I, table: TableConfig) -> Self {
        Self {
            engine,
            io,
            table,
            pending_restores: Vec::new(),
            committing: BTreeSet::new(),
            attempts: RestoreAttempts::default(),
            held: BTreeMap::new(),
            log_truncated: false,
        }
    }

    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The same, for applying records and taking counters.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    #[must_use]
    pub fn io(&self) -> &I {
        &self.io
    }

    pub fn io_mut(&mut self) -> &mut I {
        &mut self.io
    }

    #[must_use]
    pub fn into_io(self) -> I {
        self.io
    }

    /// Returns the time beyond which no event can have happened yet, for [`Engine::apply`]; read
    /// it once per burst of records.
    #[must_use]
    pub fn now_upper(&self) -> Timestamp {
        self.engine.clocks().upper(self.io.reading())
    }

    /// Returns the reason for which no session may end now, if any.
    #[must_use]
    pub fn clock_hold(&self) -> Option<ClockHold> {
        let reading = self.io.reading();
        self.engine.clocks().lower(reading).err()
    }

    /// Notes that retention has deleted records that were not yet read. The next
    /// [`round`](PartitionManager::round) restores.
    pub fn log_truncated(&mut self) {
        self.log_truncated = true;
    }

    /// Handles everything that has arrived since the last round, and commits if that is due.
    /// Call it in a loop, after records have been applied and rebalances handled.
    ///
    /// # Errors
    /// If a retry cannot help: a checkpoint record cannot be read.
    pub fn round(&mut self) -> anyhow::Result<()> {
        self.apply_policies();
        self.apply_pauses();
        self.start_restores();
        self.finish_restores();
        self.apply_broker_samples();
        self.apply_end_offsets();
        self.finish_commit(Duration::ZERO);
        self.restore_truncated();
        self.commit_if_due();
        Ok(())
    }

    fn apply_policies(&mut self) {
        while let Some(policies) = self.io.take_policies() {
            self.engine.set_policies(&policies);
            self.io.handle(ManagerEvent::PoliciesChanged);
        }
    }

    /// A paused partition is not read, and its sessions do not end: its watermark stands still.
    fn apply_pauses(&mut self) {
        while let Some(paused) = self.io.take_pauses() {
            if !paused.is_empty() {
                tracing::info!(partitions = ?paused, "paused by an operator");
            }
            let changes = self.engine.set_paused(paused);
            self.io.pause(&changes.pause);
            for (partition, position) in changes.resume {
                self.resume(partition, position);
            }
            self.io.handle(ManagerEvent::PausesChanged);
        }
    }

    fn apply_broker_samples(&mut self) {
        while let Some(sample) = self.io.take_broker_sample() {
            if !self.engine.clocks().known() && sample.append_time.is_none() {
                self.io.handle(ManagerEvent::ClockUnchecked);
            }
            self.engine.add_broker_sample(sample);
        }
    }

    /// Ends the sessions whose end the brokers' end offsets prove.
    fn apply_end_offsets(&mut self) {
        let Some(end_offsets) = self.io.take_end_offsets() else {
            return;
        };
        if self.engine.is_of_other_topic(&end_offsets) {
            tracing::error!("the topic of session events was deleted and created again");
            self.log_truncated = true;
            return;
        }
        self.advance_positions();
        match self.engine.on_end_offsets(&end_offsets) {
            Ok(hold) => {
                self.io.handle(ManagerEvent::ClocksCompared(None));
                self.io.handle(ManagerEvent::RoutingChecked(hold.as_ref()));
            }
            Err(hold) => self.io.handle(ManagerEvent::ClocksCompared(Some(hold))),
        }
    }

    /// Advances to the consumer's positions, which are past transaction markers and aborted
    /// records. The consumer delivers neither; everything that it delivered has been applied.
    fn advance_positions(&mut self) {
        for (partition, position) in self.io.positions() {
            self.engine.advance_position(partition, position);
        }
    }
}
