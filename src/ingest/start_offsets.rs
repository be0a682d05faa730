//! Where a worker starts in the partitions that it is assigned.

use super::progress::StartOffset;
use crate::kafka::topic_reader::TopicReader;

/// Where to start in each partition.
///
/// librdkafka would find the offsets by itself, but would report no position for a partition
/// without further records.
///
/// # Errors
/// If the brokers do not answer.
pub fn start_offsets(
    reader: &TopicReader,
    topic: &str,
    ids: &[i32],
) -> anyhow::Result<Vec<StartOffset>> {
    let offsets = ids.iter().map(|&partition| -> anyhow::Result<_> {
        let start = |offset, committed| StartOffset {
            partition,
            offset,
            committed,
        };
        let range = reader.partition_offsets(topic, partition)?;
        let committed = reader.committed_offset(topic, partition)?;
        let Some(offset) = committed.map(|committed| committed.offset) else {
            return Ok(start(range.first, false));
        };
        if (range.first..=range.end).contains(&offset) {
            return Ok(start(offset, true));
        }
        tracing::error!(topic, partition, offset, first = range.first, end = range.end,
            "the committed offset is outside the log: retention deleted records before they were read, or the topic was created again; starting at its first record");
        Ok(start(range.first, false))
    });
    offsets.collect()
}
