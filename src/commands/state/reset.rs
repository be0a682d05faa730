//! Resets the state of a partition.

use std::collections::BTreeSet;

use anyhow::bail;
use clap::ValueEnum;

use super::inspect::{Inspector, PartitionReport};
use super::writer::StateWriter;
use crate::tracker::offset_metadata::{LogIdentity, OffsetMetadata};
use crate::tracker::restore::NOWHERE;

/// Where trackers continue after a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResetTarget {
    /// Keep the sessions in the checkpoint, count all of them as active now, and skip the events
    /// that have not been read.
    Now,
    /// Forget the checkpoint and read all events that the topic still has. Sessions that ended
    /// before end again, under the same event ids.
    Beginning,
}

/// Returns whether the topic has fewer partitions than the sessions of the partition are distributed
/// over.
fn lost_partitions(report: &PartitionReport) -> bool {
    let (before, now) = (report.routing, report.actual_identity.partitions);
    matches!((before, now), (Some(before), Some(now)) if before.partitions > now)
}

/// Resets a partition; returns the offset at which trackers continue.
///
/// # Errors
/// If sessions cannot be kept because partitions are gone, and if Kafka fails.
pub(super) fn reset(
    inspector: &mut Inspector,
    writer: &StateWriter,
    report: &PartitionReport,
    to: ResetTarget,
) -> anyhow::Result<i64> {
    let lost_partitions = lost_partitions(report);
    if lost_partitions && to == ResetTarget::Now {
        bail!(
            "partition {} is unchanged: its sessions are distributed over more partitions than the topic has, so they cannot be kept; use --to beginning for all partitions",
            report.partition
        );
    }
    let (offset, replay_from, sessions, forgotten) = match to {
        ResetTarget::Now => (report.end, NOWHERE, None, BTreeSet::new()),
        ResetTarget::Beginning => {
            let keys = inspector.checkpoint_keys(report.partition)?;
            (report.start, report.start, Some(0), keys)
        }
    };
    let metadata = OffsetMetadata {
        watermark: None,
        replay_from,
        identity: LogIdentity {
            sessions,
            ..report.actual_identity
        },
        // Sessions stay where they are. If nothing was committed, the other partitions state it.
        routing: report.routing.filter(|_| !lost_partitions),
    };
    let tombstones = forgotten.iter().map(|key| (key.as_slice(), None));
    writer.commit(report.partition, (offset, &metadata), tombstones)?;
    Ok(offset)
}
