//! From checkpoint records to a table.
//!
//! A transaction's records are there if its source offset is committed, and only then.
//! With at-least-once delivery they are written first, so a crash can leave records
//! *ahead* of the committed offset: written, but the source will be read again from
//! before what they tell. A session that ended there has to be alive again, or its
//! events would start it anew and end it a second time as another session. So those
//! records do not count, and what they are about is written anew.

use crate::session::checkpoint::CheckpointError;
use crate::session::{Checkpoint, Packed, SessionId, SessionTable};

/// A record of the checkpoint topic.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointRecord<'a> {
    /// The session id.
    pub key: &'a [u8],
    /// The session's state; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// With at-least-once delivery, the source offset that was to be committed next.
    pub position: Option<i64>,
}

/// A table that is being built.
pub(super) struct Rebuild {
    table: SessionTable,
    /// Where the source will be read on.
    position: i64,
    records: u64,
    ahead: Vec<SessionId>,
}

impl Rebuild {
    pub(super) fn new(table: SessionTable, position: i64) -> Self {
        Self {
            table,
            position,
            records: 0,
            ahead: Vec::new(),
        }
    }

    pub(super) fn read(&mut self, record: CheckpointRecord<'_>) -> Result<(), CheckpointError> {
        self.records += 1;
        let session = std::str::from_utf8(record.key)
            .map_err(|_| CheckpointError::Damaged("a key that is not UTF-8"))?;
        let session = Packed::new(session);
        let checkpoint = record
            .value
            .map(|value| Checkpoint::decode(session.clone(), value))
            .transpose()?;
        let ahead = record
            .position
            .is_some_and(|position| position > self.position);
        if !ahead {
            match checkpoint {
                Some(checkpoint) => self.table.restore(checkpoint),
                None => self.table.discard(&session),
            }
            return Ok(());
        }
        // Where compaction has left nothing else of a session, it is better than nothing.
        if let Some(checkpoint) = checkpoint
            && checkpoint.start_offset < self.position
            && !self.table.contains(&session)
        {
            self.table.restore(checkpoint);
        }
        self.ahead.push(session);
        Ok(())
    }

    /// The table, and how many records it was built from.
    pub(super) fn finish(mut self) -> (SessionTable, u64) {
        for session in self.ahead {
            self.table.rewrite(session);
        }
        (self.table, self.records)
    }
}
