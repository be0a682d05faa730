//! Rebuilds a session table from checkpoint records.
//!
//! The records of a transaction exist if and only if its source offset is committed. With
//! at-least-once delivery they are written first, so a crash can leave records *ahead* of the
//! committed offset: the source will be read again from before the events that they cover. A
//! session that ended there has to be live again: its terminal event may not have been written.
//! So those records do not count, except for the state of sessions that have no other, and they are
//! rewritten.

use std::collections::BTreeMap;

use crate::session::checkpoint::CheckpointError;
use crate::session::{Record, RecordKey, SessionRecord, SessionTable};
use crate::tracker::offset_metadata::OffsetMetadata;
use crate::tracker::state_hold::StateHold;

/// A record of the checkpoint topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct CheckpointRecord<'a> {
    /// The key, see [`RecordKey`].
    pub(super) key: &'a [u8],
    /// The state; `None` is a tombstone.
    pub(super) value: Option<&'a [u8]>,
    /// With at-least-once delivery, the source offset to be committed after it.
    pub(super) position: Option<i64>,
}

/// Bounds the keys of unreadable records that are remembered.
const MAX_UNREADABLE: usize = 1_000;

/// A table that is being rebuilt.
pub(super) struct Rebuild {
    table: SessionTable,
    /// The offset from which the source will be read: the committed one, or the first that is left.
    position: i64,
    committed: Option<i64>,
    records: u64,
    ahead: Vec<RecordKey>,
    /// Records that count although they may have been written after the commit: at its offset, since
    /// sessions end by time, too, and after it if retention has deleted what they cover.
    after_commit: u64,
    /// The errors of records that cannot be read and that no later record replaces, by key.
    unreadable: BTreeMap<Vec<u8>, CheckpointError>,
}

impl Rebuild {
    pub(super) fn new(table: SessionTable, position: i64, committed: Option<i64>) -> Self {
        Self {
            table,
            position,
            committed,
            records: 0,
            ahead: Vec::new(),
            after_commit: 0,
            unreadable: BTreeMap::new(),
        }
    }

    pub(super) fn read(&mut self, record: CheckpointRecord<'_>) -> Result<(), CheckpointError> {
        self.records += 1;
        match self.apply(record) {
            Err(error) if record.value.is_some() => {
                if self.unreadable.len() == MAX_UNREADABLE {
                    return Err(error);
                }
                self.unreadable.insert(record.key.to_vec(), error);
            }
            // A tombstone of a key that no session has deletes a record of another writer.
            Ok(()) | Err(_) => {
                self.unreadable.remove(record.key);
            }
        }
        Ok(())
    }

    fn apply(&mut self, record: CheckpointRecord<'_>) -> Result<(), CheckpointError> {
        let key = RecordKey::decode(record.key)?;
        let value = record
            .value
            .map(|value| Record::decode(key.clone(), value))
            .transpose()?;
        let ahead = record.position.is_some_and(|position| {
            position > self.position || position == self.position && self.committed.is_none()
        });
        if !ahead {
            let is_after_commit = record.position.is_some() && record.position >= self.committed;
            self.after_commit += u64::from(is_after_commit);
            match value {
                Some(value) => self.table.restore(value),
                None => self.table.discard(&key),
            }
            return Ok(());
        }
        // Compaction may have left no other record of the session. Without a commit, everything is
        // read again.
        if self.committed.is_some()
            && let Some(Record::Session(session)) = value
            && session.live.is_some()
            && !self.table.contains(&session.session)
        {
            self.table.restore(Record::Session(SessionRecord {
                ended: None,
                unmatched: Vec::new(),
                ..session
            }));
        }
        self.ahead.push(key);
        Ok(())
    }

    /// Checks that the checkpoint is that of the committed offset. Records ahead of it prove
    /// nothing: a tracker may have ended before it first committed an offset.
    pub(super) fn check(&self, metadata: Option<&OffsetMetadata>) -> Result<(), StateHold> {
        if let Some(error) = self.unreadable.values().next() {
            return Err(StateHold::CheckpointUnreadable(error.to_string()));
        }
        let counted = self.records - self.ahead.len() as u64;
        match metadata {
            Some(metadata) if self.ahead.is_empty() && self.after_commit == 0 => {
                metadata.identity.check_sessions(self.table.len())
            }
            None if counted > 0 && self.committed.is_some() => Err(StateHold::OffsetForeign),
            None if counted > 0 => Err(StateHold::OffsetLost),
            _ => Ok(()),
        }
    }

    /// Returns the table and the number of records read.
    pub(super) fn finish(mut self) -> (SessionTable, u64) {
        for key in self.ahead {
            self.table.rewrite(key);
        }
        (self.table, self.records)
    }
}
