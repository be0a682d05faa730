//! Why a partition's state is not used: the log, its checkpoint and the committed offset do not
//! belong together.

use crate::kafka::topic_ids::TopicId;

/// Why a partition is held: nothing of it is read and no session on it ends until an operator
/// decides, or the inconsistency is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateHold {
    /// The source topic was deleted and created again.
    #[error(
        "the topic of session events was deleted and created again: the committed offset is of topic id {committed}, the topic has {actual}"
    )]
    TopicRecreated { committed: TopicId, actual: TopicId },
    /// The checkpoint topic was deleted and created again.
    #[error(
        "the checkpoint topic was deleted and created again: the committed offset is of topic id {committed}, the topic has {actual}"
    )]
    CheckpointRecreated { committed: TopicId, actual: TopicId },
    /// The checkpoint holds other sessions than at the commit.
    #[error(
        "the checkpoint has {found} live sessions, and had {committed} when the offset was committed: records were deleted or added"
    )]
    CheckpointIncomplete { committed: u64, found: u64 },
    /// A checkpoint record cannot be decoded.
    #[error(
        "the checkpoint has a record that this release cannot read ({0}): it is of a later release or of another writer"
    )]
    CheckpointUnreadable(String),
    /// There are checkpoint records but no committed offset.
    #[error(
        "there are checkpoint records but no committed offset: was the group deleted or renamed, or did its offset expire?"
    )]
    OffsetLost,
    /// The committed offset is not the tracker's.
    #[error(
        "the metadata of the committed offset is not the tracker's: was the group's offset set by hand?"
    )]
    OffsetForeign,
    /// The partition ends before the committed offset.
    #[error(
        "the committed offset is {committed}, but the partition ends at {end}: records were lost"
    )]
    LogTruncated {
        committed: i64,
        /// The partition's high watermark.
        end: i64,
    },
    /// Another record has the offset of one that was read.
    #[error(
        "the record at offset {offset} is not the one that was read there before the offset was committed: records were lost, and others have taken their offsets"
    )]
    LogReplaced { offset: i64 },
    /// The source topic has fewer partitions than sessions are distributed over.
    #[error(
        "sessions are distributed over {committed} partitions and the topic of session events has {actual}, so it was deleted and created again; reset all partitions to the beginning and restart the trackers"
    )]
    PartitionsRemoved { committed: i32, actual: i32 },
    /// Another tracker has distributed the partition's sessions in another way.
    #[error(
        "sessions are distributed over {committed} partitions on this partition, and over {own} by this tracker; restart the trackers"
    )]
    LayoutDiffers { committed: i32, own: i32 },
}

impl StateHold {
    /// Every [`reason`](Self::reason), for metrics.
    pub const REASONS: [&str; 9] = [
        "topic_recreated",
        "checkpoint_recreated",
        "checkpoint_incomplete",
        "checkpoint_unreadable",
        "offset_lost",
        "offset_foreign",
        "log_truncated",
        "partitions_removed",
        "layout_differs",
    ];

    /// Returns one of [`REASONS`](Self::REASONS).
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TopicRecreated { .. } => "topic_recreated",
            Self::CheckpointRecreated { .. } => "checkpoint_recreated",
            Self::CheckpointIncomplete { .. } => "checkpoint_incomplete",
            Self::CheckpointUnreadable(_) => "checkpoint_unreadable",
            Self::OffsetLost => "offset_lost",
            Self::OffsetForeign => "offset_foreign",
            Self::LogTruncated { .. } | Self::LogReplaced { .. } => "log_truncated",
            Self::PartitionsRemoved { .. } => "partitions_removed",
            Self::LayoutDiffers { .. } => "layout_differs",
        }
    }
}
