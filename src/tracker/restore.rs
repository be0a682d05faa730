//! Restores a partition's state after a rebalance, a restart or an abort.
//!
//! Correctness depends on the order of the steps. First, the restore fetches the committed
//! offset, once no transaction is pending on it. *Then* it fetches the checkpoint partition's
//! high watermark from the broker that leads it: every record of that offset's transaction, or of an
//! earlier one, lies below it. Commit markers reach partitions one by one, so the restore waits until the checkpoint
//! partition's last stable offset has reached the high watermark. An earlier last stable offset
//! would hide records that the committed offset already covers.

mod log;
mod read;
mod rebuild;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::offset_metadata::{LogIdentity, OffsetMetadata};
use super::partition::Partition;
use super::state_hold::StateHold;
use crate::clock::clocks::Clocks;
use crate::kafka::topic_reader::CommittedOffset;
use crate::kafka::topics::OffsetRange;
use crate::session::checkpoint::CheckpointError;
use crate::session::{PolicySet, SessionTable, TableConfig, Timestamp};
use crate::wire::event::decode::{DecodeLimits, decode};
use crate::wire::forwarded::Forwarded;
use crate::wire::record::SourceRecord;
use crate::wire::routing::{Route, Routing};
use read::read_to;
use rebuild::{CheckpointRecord, Rebuild};

pub use log::{ReadProgress, RestoreLog, RestoreTopic};

/// The input of a restore.
#[derive(Clone, Debug)]
pub struct RestoreSettings {
    pub partition: i32,
    /// How events are distributed over the partitions of the source topic.
    pub routing: Routing,
    pub table: TableConfig,
    /// The active policies.
    pub policies: Arc<PolicySet>,
    pub decode_limits: DecodeLimits,
    pub clocks: Clocks,
}

/// The result of a restore.
#[derive(Debug)]
pub struct Restored {
    /// Ready to be read from [`Partition::position`] on.
    pub partition: Partition,
    /// Checkpoint records read.
    pub records: u64,
    /// Source records replayed.
    pub replayed: u64,
    /// Set if source records that were needed are gone, so that every session was treated as
    /// active: a late logout rather than a wrong one.
    pub degraded: Option<Degraded>,
}

/// Why the source no longer proves which sessions were active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Degraded {
    /// Retention deleted records that had not been checkpointed.
    #[error(
        "the replay begins at offset {replay_from}, but retention has deleted all records before {start}: give the topic a longer retention than the longest outage of its trackers"
    )]
    ReplayDeleted {
        /// The offset from which the replay has to begin.
        replay_from: i64,
        /// The first offset left.
        start: i64,
    },
    /// An operator has set the offset.
    #[error("an operator has reset the state and kept the sessions")]
    Reset,
}

/// The `replay_from` of sessions whose activity is in no record: below every offset, so that the
/// next restore is degraded too.
pub const NOWHERE: i64 = -1;

/// Restores a partition.
///
/// # Errors
/// The error of `log`, or a [`StateHold`].
pub fn restore<L: RestoreLog>(
    log: &mut L,
    settings: &RestoreSettings,
) -> Result<Restored, L::Error> {
    let committed = log.committed()?;
    let metadata = committed
        .as_ref()
        .and_then(|committed| OffsetMetadata::decode(&committed.metadata));
    // Looked up after the offset: topics that are created later are empty.
    let actual = log.identity()?;
    check_identity(metadata.as_ref(), &actual, settings.routing)?;
    let identity = LogIdentity {
        last_record: metadata.and_then(|metadata| metadata.identity.last_record),
        ..actual
    };
    let OffsetRange { first: start, end } = log.source_offsets()?;
    if let Some(CommittedOffset { offset, .. }) = committed
        && offset > end
    {
        let committed = offset;
        return Err(StateHold::LogTruncated { committed, end }.into());
    }
    let watermark = metadata.and_then(|metadata| metadata.watermark);
    // Now, not when the restore was requested: it may have waited for long, and records that
    // were written and deleted meanwhile are gone too.
    let now = settings.clocks.upper(log.reading());
    let position = committed
        .as_ref()
        .map_or(start, |committed| committed.offset)
        .max(start);
    let policies = Arc::clone(&settings.policies);
    let watermark = watermark.unwrap_or(Timestamp::MIN);
    let table = SessionTable::new(settings.table.clone(), policies, watermark);
    let mut rebuild = Rebuild::new(table, position, committed.as_ref().map(|one| one.offset));
    read_checkpoint(log, &mut rebuild)?;
    rebuild.check(metadata.as_ref())?;
    let (mut table, records) = rebuild.finish();
    let mut replayed = 0;
    let degraded = match (&committed, metadata) {
        (Some(committed), Some(metadata)) if metadata.replay_from >= start => {
            let last_record = identity.last_record.filter(|last| last.offset >= start);
            // Read, too, if nothing is to be replayed.
            let compared = last_record.map_or(i64::MAX, |last| last.offset);
            let range = (metadata.replay_from.min(compared), committed.offset);
            read_to(log, RestoreTopic::Source, range, |record| {
                last_record.map_or(Ok(()), |last| last.check(record))?;
                if record.offset() >= metadata.replay_from {
                    replayed += 1;
                    replay_record(&mut table, record, settings, now);
                }
                Ok(())
            })?;
            None
        }
        (Some(_), Some(metadata)) if metadata.replay_from == NOWHERE => {
            table.assume_active(now, NOWHERE);
            Some(Degraded::Reset)
        }
        (Some(_), Some(metadata)) => {
            // Not the watermark: activity that had been read when it was committed may have
            // happened after it.
            table.assume_active(now, metadata.replay_from);
            let replay_from = metadata.replay_from;
            Some(Degraded::ReplayDeleted { replay_from, start })
        }
        // Nothing counts: there are no sessions, or only records ahead of their offset.
        (Some(_), None) | (None, _) => {
            table.assume_active(now, NOWHERE);
            None
        }
    };
    // Without sessions, no session can end at the wrong time.
    let degraded = degraded.filter(|_| !table.is_empty());
    Ok(Restored {
        partition: Partition::new(settings.partition, settings.routing, table, position)
            .with_identity(identity),
        records,
        replayed,
        degraded,
    })
}

/// Checks that the topics are those of the committed offset, that no partition is gone, and that sessions
/// were distributed as they are now: otherwise their events would go to another partition, and they would
/// end although their users are active.
fn check_identity(
    metadata: Option<&OffsetMetadata>,
    actual: &LogIdentity,
    routing: Routing,
) -> Result<(), StateHold> {
    if let Some(metadata) = metadata {
        metadata.identity.check(actual)?;
        if let Some(committed) = metadata.routing
            && committed.partitions != routing.partitions
        {
            return Err(StateHold::LayoutDiffers {
                committed: committed.partitions,
                own: routing.partitions,
            });
        }
    }
    match actual.partitions {
        // Also without an offset: events would be forwarded to partitions that are gone.
        Some(partitions) if partitions < routing.partitions => Err(StateHold::PartitionsRemoved {
            committed: routing.partitions,
            actual: partitions,
        }),
        _ => Ok(()),
    }
}

/// Reads the checkpoint partition up to its high watermark.
fn read_checkpoint<L: RestoreLog>(log: &mut L, rebuild: &mut Rebuild) -> Result<(), L::Error> {
    let end = log.checkpoint_end()?;
    let first = loop {
        let stable = log.checkpoint_stable_offsets()?;
        if stable.end >= end {
            break stable.first;
        }
        log.pause()?;
    };
    read_to(log, RestoreTopic::Checkpoint, (first, end), |record| {
        let Some(key) = record.key() else {
            return Ok(());
        };
        let record = CheckpointRecord {
            key,
            value: record.value(),
            position: L::covered_position(record),
        };
        let read = rebuild.read(record);
        let unreadable =
            |error: CheckpointError| StateHold::CheckpointUnreadable(error.to_string());
        Ok(read.map_err(unreadable)?)
    })
}

/// Returns the keys of the checkpoint partition that have a value.
///
/// # Errors
/// The error of `log`.
pub fn checkpoint_keys<L: RestoreLog>(log: &mut L) -> Result<BTreeSet<Vec<u8>>, L::Error> {
    let mut keys = BTreeSet::new();
    let OffsetRange { first, end } = log.checkpoint_stable_offsets()?;
    read_to(log, RestoreTopic::Checkpoint, (first, end), |record| {
        if let Some(key) = record.key() {
            if record.value().is_some() {
                keys.insert(key.to_vec());
            } else {
                keys.remove(key);
            }
        }
        Ok(())
    })?;
    Ok(keys)
}

fn replay_record(
    table: &mut SessionTable,
    record: &impl SourceRecord,
    settings: &RestoreSettings,
    now: Timestamp,
) {
    let mark = Forwarded::decode(record.key());
    let time = Forwarded::time(mark, record.timestamp().0, now);
    // Records that cannot be decoded were dead-lettered when they were first read.
    let Ok(decoded) = decode(record.value(), time, &settings.decode_limits) else {
        return;
    };
    let event = decoded.event();
    // Others were forwarded.
    if settings.routing.route(event.subject) == Route::Partition(settings.partition) {
        table.replay(&event, record.offset(), time.unwrap_or(now));
    }
}

#[cfg(test)]
mod tests;
