//! How a partition's state is built again after a rebalance, a restart or an abort.
//!
//! The order of the steps is what makes it right. First the committed offset, once no
//! transaction is pending on it. *Then* the checkpoint partition's high watermark:
//! whatever belongs to that offset's transaction, or to an earlier one, lies below it.
//! Commit markers reach partitions one by one, so the reader has to wait until the
//! checkpoint partition's last stable offset has come up to it; to stop at an earlier
//! last stable offset would be to miss what the committed offset already covers.

mod rebuild;

use std::sync::Arc;

use super::clocks::Clocks;
use super::offset_metadata::OffsetMetadata;
use super::partition::Partition;
use crate::clock::Reading;
use crate::session::checkpoint::CheckpointError;
use crate::session::{PolicySet, SessionTable, TableConfig, Timestamp};
use crate::wire::event::decode::decode;
use crate::wire::record::SourceRecord;
use rebuild::Rebuild;

pub use rebuild::CheckpointRecord;

/// A committed offset and what was committed beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// One past the last offset that has been applied.
    pub offset: i64,
    /// The metadata, as it stands there.
    pub metadata: String,
}

/// The log that a partition is restored from: Kafka, or a simulation.
pub trait RestoreLog {
    /// Why it could not be read.
    type Error;
    /// Its records of the source topic.
    type Record<'a>: SourceRecord;

    /// This machine's clocks.
    fn reading(&self) -> Reading;

    /// The group's committed offset of the source partition. Waits for transactions
    /// that are pending on it.
    ///
    /// # Errors
    /// If it cannot be had.
    fn committed(&mut self) -> Result<Option<Committed>, Self::Error>;

    /// The oldest offset that the source partition still has.
    ///
    /// # Errors
    /// If it cannot be had.
    fn source_start(&mut self) -> Result<i64, Self::Error>;

    /// The high watermark of the checkpoint partition: where its records end, those of
    /// open transactions included.
    ///
    /// # Errors
    /// If it cannot be had.
    fn checkpoint_end(&mut self) -> Result<i64, Self::Error>;

    /// The last stable offset of the checkpoint partition: where the records end that
    /// [`RestoreLog::read_checkpoint`] can see.
    ///
    /// # Errors
    /// If it cannot be had.
    fn checkpoint_stable_end(&mut self) -> Result<i64, Self::Error>;

    /// Waits a little.
    ///
    /// # Errors
    /// If there is no time to wait.
    fn pause(&mut self) -> Result<(), Self::Error>;

    /// Reads the checkpoint partition, keys and values, up to its last stable offset,
    /// committed records only.
    ///
    /// # Errors
    /// If it cannot be read to that point, or `visit` fails.
    fn read_checkpoint(
        &mut self,
        visit: impl FnMut(CheckpointRecord<'_>) -> Result<(), CheckpointError>,
    ) -> Result<(), Self::Error>;

    /// Reads the source partition from the offset `from` up to the offset `to`,
    /// exclusive.
    ///
    /// # Errors
    /// If it cannot be read to that point.
    fn read_source(
        &mut self,
        from: i64,
        to: i64,
        visit: impl FnMut(&Self::Record<'_>),
    ) -> Result<(), Self::Error>;
}

/// What a restore has to know.
#[derive(Clone, Debug)]
pub struct RestoreSettings {
    /// The partition's number.
    pub partition: i32,
    /// How many partitions the source topic has.
    pub partition_count: i32,
    /// For its table.
    pub table: TableConfig,
    /// The policies in force.
    pub policies: Arc<PolicySet>,
    /// The clocks, compared.
    pub clocks: Clocks,
}

/// A restored partition, and how that went.
#[derive(Debug)]
pub struct Restored {
    /// Ready to be read on from [`Partition::position`].
    pub partition: Partition,
    /// Checkpoint records read.
    pub records: u64,
    /// Source records replayed.
    pub replayed: u64,
    /// Set when source records that were needed are gone, so that every session was
    /// taken as active: rather a late logout than a wrong one.
    pub degraded: Option<Degraded>,
}

/// Why activity could not be told from the source any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Degraded {
    /// Retention deleted records that had not been checkpointed.
    #[error(
        "the replay begins at offset {replay_from}, but retention has deleted everything before {start}: give the topic a longer retention than trackers are ever down"
    )]
    ReplayDeleted {
        /// Where the replay should have begun.
        replay_from: i64,
        /// The oldest offset left.
        start: i64,
    },
    /// The offset's metadata is not the tracker's.
    #[error(
        "the metadata of the committed offset is not the tracker's: was the group's offset set by hand?"
    )]
    NoMetadata,
    /// There are checkpoint records but no committed offset.
    #[error(
        "there are checkpoint records but no committed offset: was the group deleted, or its offset expired?"
    )]
    NoOffset,
}

/// Marks, as `replay_from`, sessions whose activity can be found nowhere: below every
/// offset, so that the next restore comes to the same conclusion.
const NOWHERE: i64 = -1;

/// Restores a partition.
///
/// # Errors
/// Whatever `log` fails with.
pub fn restore<L: RestoreLog>(
    log: &mut L,
    settings: RestoreSettings,
) -> Result<Restored, L::Error> {
    let committed = log.committed()?;
    let metadata = committed
        .as_ref()
        .and_then(|committed| OffsetMetadata::decode(&committed.metadata));
    let watermark = metadata.and_then(|metadata| metadata.watermark);
    let RestoreSettings {
        partition,
        partition_count,
        table,
        policies,
        clocks,
    } = settings;
    let start = log.source_start()?;
    // Now, not when the restore was asked for: it may have waited for long, and what was
    // written and deleted meanwhile is gone too.
    let now = clocks.upper(log.reading());
    let position = committed
        .as_ref()
        .map_or(start, |committed| committed.offset)
        .max(start);
    let table = SessionTable::new(table, policies, watermark.unwrap_or(Timestamp::MIN));
    let mut rebuild = Rebuild::new(table, position);
    let end = log.checkpoint_end()?;
    while log.checkpoint_stable_end()? < end {
        log.pause()?;
    }
    log.read_checkpoint(|record| rebuild.read(record))?;
    let (mut table, records) = rebuild.finish();
    let mut replayed = 0;
    let degraded = match (&committed, metadata) {
        (Some(committed), Some(metadata)) if metadata.replay_from >= start => {
            log.read_source(metadata.replay_from, committed.offset, |record| {
                replayed += 1;
                replay_record(&mut table, record, now);
            })?;
            None
        }
        (Some(_), Some(metadata)) => {
            // Not the watermark: what had been read when it was committed may have
            // happened after it.
            table.assume_active(now, metadata.replay_from);
            let replay_from = metadata.replay_from;
            Some(Degraded::ReplayDeleted { replay_from, start })
        }
        (Some(_), None) => {
            table.assume_active(now, NOWHERE);
            Some(Degraded::NoMetadata)
        }
        (None, _) => {
            table.assume_active(now, NOWHERE);
            Some(Degraded::NoOffset)
        }
    };
    // A partition that never held a session has nothing to be wrong about.
    let degraded = degraded.filter(|_| !table.is_empty());
    Ok(Restored {
        partition: Partition::new(partition, partition_count, table, position),
        records,
        replayed,
        degraded,
    })
}

fn replay_record(table: &mut SessionTable, record: &impl SourceRecord, now: Timestamp) {
    // What cannot be decoded was dead-lettered when it was first read.
    if let Ok(decoded) = decode(record.value()) {
        let timestamp = record.timestamp().0.min(now);
        table.replay(&decoded.event(), record.offset(), timestamp);
    }
}

#[cfg(test)]
mod tests;
