//! Rebuilds a session table from checkpoint records.
//!
//! The records of a transaction exist if and only if its source offset is committed. With
//! at-least-once delivery they are written first, so a crash can leave records *ahead* of the
//! committed offset: the source will be read again from before the events that they cover. A
//! session that ended there has to be live again: its terminal event may not have been written.
//! So those records do not count, except for the state of sessions that have no other, and they are
//! rewritten.

use crate::session::checkpoint::CheckpointError;
use crate::session::{Record, RecordKey, SessionRecord, SessionTable};

/// A record of the checkpoint topic.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointRecord<'a> {
    /// The key, see [`RecordKey`].
    pub key: &'a [u8],
    /// The state; `None` is a tombstone.
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
    ahead: Vec<RecordKey>,
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
        let key = RecordKey::decode(record.key)?;
        let value = record
            .value
            .map(|value| Record::decode(key.clone(), value))
            .transpose()?;
        let ahead = record
            .position
            .is_some_and(|position| position > self.position);
        if !ahead {
            match value {
                Some(value) => self.table.restore(value),
                None => self.table.discard(&key),
            }
            return Ok(());
        }
        // Compaction may have left no other record of the session.
        if let Some(Record::Session(session)) = value
            && session.live.is_some()
            && !self.table.contains(&session.session)
        {
            self.table.restore(Record::Session(SessionRecord {
                ended: None,
                unmatched: None,
                ..session
            }));
        }
        self.ahead.push(key);
        Ok(())
    }

    /// Returns the table and the number of records read.
    pub(super) fn finish(mut self) -> (SessionTable, u64) {
        for key in self.ahead {
            self.table.rewrite(key);
        }
        (self.table, self.records)
    }
}
