//! Rebuilds a session table from checkpoint records.
//!
//! The records of a transaction exist if and only if its source offset is committed. With
//! at-least-once delivery they are written first, so a crash can leave records *ahead* of the
//! committed offset: the source will be read again from before the events that they cover. A
//! session that ended there has to be live again; otherwise its events would start and end
//! another session with its id. So those records do not count, and their sessions are rewritten.

use crate::session::checkpoint::CheckpointError;
use crate::session::{Checkpoint, Packed, SessionId, SessionTable};

/// A record of the checkpoint topic.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointRecord<'a> {
    /// The session id.
    pub key: &'a [u8],
    /// The session's state; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// With at-least-once delivery, the source offset to be committed after it.
    pub position: Option<i64>,
}

/// A table that is being rebuilt.
pub(super) struct Rebuild {
    table: SessionTable,
    /// The offset from which the source will be read.
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
        // Compaction may have left no other record of the session.
        if let Some(checkpoint) = checkpoint
            && checkpoint.start_offset < self.position
            && !self.table.contains(&session)
        {
            self.table.restore(checkpoint);
        }
        self.ahead.push(session);
        Ok(())
    }

    /// Returns the table and the number of records read.
    pub(super) fn finish(mut self) -> (SessionTable, u64) {
        for session in self.ahead {
            self.table.rewrite(session);
        }
        (self.table, self.records)
    }
}
