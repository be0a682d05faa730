//! Delivery guarantees and the commit stages of each.

use clap::ValueEnum;

/// The delivery guarantee of outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Delivery {
    /// Outputs are written in transactions.
    ExactlyOnce,
    /// A crash can repeat outputs; terminal events keep their `event_id`.
    AtLeastOnce,
}

/// One stage of committing a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Begin a transaction.
    Begin,
    /// Write the records and wait for their acknowledgements.
    Write,
    /// Write what nothing of the stage before may follow, such as up to when the source has been
    /// read, and wait for its acknowledgement.
    WriteWatermarks,
    /// Add the source offsets to the transaction.
    AddOffsets,
    /// Commit the transaction.
    Commit,
    /// Commit the source offsets outside a transaction.
    CommitOffsets,
}

impl Delivery {
    /// Returns the stages of committing a batch, in their order.
    #[must_use]
    pub const fn stages(self) -> &'static [Stage] {
        match self {
            Self::ExactlyOnce => &[
                Stage::Begin,
                Stage::Write,
                Stage::WriteWatermarks,
                Stage::AddOffsets,
                Stage::Commit,
            ],
            // The outputs of an offset have to exist before it, and forwarded events before the
            // watermark that covers them.
            Self::AtLeastOnce => &[Stage::Write, Stage::WriteWatermarks, Stage::CommitOffsets],
        }
    }
}
