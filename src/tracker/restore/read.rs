//! Reads a partition's logs up to a known end.

use super::log::{ReadProgress, RestoreLog, RestoreTopic};
use crate::wire::record::SourceRecord;

/// Reads the committed records of a partition from the offset `from` up to `to`, exclusive.
///
/// The position counts, not the report that the partition has no more records: a new leader that
/// lags behind sends it too early.
pub(super) fn read_to<L: RestoreLog>(
    log: &mut L,
    topic: RestoreTopic,
    (from, to): (i64, i64),
    mut visit: impl FnMut(&L::Record<'_>) -> Result<(), L::Error>,
) -> Result<(), L::Error> {
    if from >= to {
        return Ok(());
    }
    log.start_reading(topic, from)?;
    let mut visit_earlier = |record: &L::Record<'_>| {
        if record.offset() < to {
            visit(record)
        } else {
            Ok(())
        }
    };
    loop {
        let next = match log.poll(&mut visit_earlier)? {
            ReadProgress::Record { next } => next,
            // Transaction markers may follow the last record; only the position shows them.
            ReadProgress::Idle | ReadProgress::EndOfPartition => log.position()?,
        };
        if next >= to {
            return log.stop_reading();
        }
    }
}
