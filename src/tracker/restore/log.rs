//! The seam between a restore and the log that it reads.

use crate::clock::Reading;
use crate::kafka::topic_reader::CommittedOffset;
use crate::kafka::topics::OffsetRange;
use crate::tracker::offset_metadata::LogIdentity;
use crate::tracker::state_hold::StateHold;
use crate::wire::record::SourceRecord;

/// Which of a partition's logs is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreTopic {
    /// The session events.
    Source,
    /// The checkpoint.
    Checkpoint,
}

/// What a poll returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadProgress {
    /// A record with the offset before this one.
    Record {
        /// The next offset.
        next: i64,
    },
    /// Nothing so far.
    Idle,
    /// A report that the partition has no more records.
    EndOfPartition,
}

/// The log that a partition is restored from: Kafka, or a simulation.
pub trait RestoreLog {
    /// Why the log cannot be read, or its state is not used.
    type Error: From<StateHold>;
    /// A record.
    type Record<'a>: SourceRecord;

    /// Reads this machine's clocks.
    fn reading(&self) -> Reading;

    /// Fetches the group's committed offset of the source partition, after waiting for
    /// transactions that are pending on it.
    ///
    /// # Errors
    /// If the brokers do not answer.
    fn committed(&mut self) -> Result<Option<CommittedOffset>, Self::Error>;

    /// Looks up the topics.
    ///
    /// # Errors
    /// If the brokers do not answer.
    fn identity(&mut self) -> Result<LogIdentity, Self::Error>;

    /// Fetches the first offset that retention has left in the source partition, and its high
    /// watermark.
    ///
    /// # Errors
    /// If the brokers do not answer.
    fn source_offsets(&mut self) -> Result<OffsetRange, Self::Error>;

    /// Fetches the high watermark of the checkpoint partition: the end of its records, those of
    /// open transactions included. Waits until the broker that states it is certain to lead the partition:
    /// one that was deposed and does not know it states an old one.
    ///
    /// # Errors
    /// If the brokers do not answer.
    fn checkpoint_end(&mut self) -> Result<i64, Self::Error>;

    /// Fetches the first offset of the checkpoint partition and its last stable offset: the end of
    /// the records that can be read.
    ///
    /// # Errors
    /// If the brokers do not answer.
    fn checkpoint_stable_offsets(&mut self) -> Result<OffsetRange, Self::Error>;

    /// Waits before the next request.
    ///
    /// # Errors
    /// If the process is stopping.
    fn pause(&mut self) -> Result<(), Self::Error>;

    /// Reads the committed records of one of the logs from `from` on.
    ///
    /// # Errors
    /// If the client refuses.
    fn start_reading(&mut self, topic: RestoreTopic, from: i64) -> Result<(), Self::Error>;

    /// Passes the next record to `visit`, if there is one.
    ///
    /// # Errors
    /// That of `visit`, if the log cannot be read, or if there has been no record for too long.
    fn poll(
        &mut self,
        visit: &mut impl FnMut(&Self::Record<'_>) -> Result<(), Self::Error>,
    ) -> Result<ReadProgress, Self::Error>;

    /// Returns the offset from which the log is read next, past transaction markers.
    ///
    /// # Errors
    /// If the client does not know it.
    fn position(&mut self) -> Result<i64, Self::Error>;

    /// Stops to read the log.
    ///
    /// # Errors
    /// If the client refuses.
    fn stop_reading(&mut self) -> Result<(), Self::Error>;

    /// Returns the source offset to be committed after a checkpoint record that was written
    /// outside a transaction.
    fn covered_position(record: &Self::Record<'_>) -> Option<i64>;
}
