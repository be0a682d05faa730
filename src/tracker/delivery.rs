//! Delivery guarantees and the commit stages of each.

use clap::ValueEnum;

/// The delivery guarantee of outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Delivery {
    /// Transactions: a crash neither loses nor repeats outputs.
    ExactlyOnce,
    /// A crash can repeat outputs; repeated terminal events keep their `event_id`.
    AtLeastOnce,
}

/// One stage of committing a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Begin a transaction.
    Begin,
    /// Write the records, and wait until they have arrived.
    Write,
    /// Add the source offsets to the transaction.
    AddOffsets,
    /// Commit the transaction.
    Commit,
    /// Commit the source offsets by themselves.
    CommitOffsets,
}

impl Delivery {
    /// The stages of committing a batch, in their order.
    #[must_use]
    pub const fn stages(self) -> &'static [Stage] {
        match self {
            Self::ExactlyOnce => &[Stage::Begin, Stage::Write, Stage::AddOffsets, Stage::Commit],
            // What an offset covers has to be there before it.
            Self::AtLeastOnce => &[Stage::Write, Stage::CommitOffsets],
        }
    }
}
