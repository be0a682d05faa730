//! One owned partition: its sessions, how far it has been read, and what it has to
//! write in the next transaction.

use std::sync::Arc;

use super::offset_metadata::OffsetMetadata;
use super::rejected_record::RejectedRecord;
use crate::session::{
    Applied, Counters, Effect, LiveSession, LoggedEvent, Policy, PolicySet, SessionTable, Subject,
    Timestamp, UserId,
};
use crate::wire::dead_letter::Cause;
use crate::wire::event::decode::{Decoded, decode};
use crate::wire::partitioner::murmur2_partition;
use crate::wire::record::{SourceRecord, TimestampKind};

/// Why events that would start a session beyond the bound become dead letters.
pub const TOO_MANY_SESSIONS: &str = "too_many_sessions";
/// Records that are read before the first of them is applied: few enough to stay in the
/// processor's nearest caches until then.
const GROUP: usize = 64;

/// A partition that has been restored and is being read.
#[derive(Debug)]
pub struct Partition {
    number: i32,
    /// How many partitions the source topic has.
    partition_count: i32,
    table: SessionTable,
    /// One past the last offset read.
    position: i64,
    /// The position that the last flush committed.
    flushed: i64,
    /// The largest broker timestamp read, on a topic whose brokers stamp records.
    append_time: Option<Timestamp>,
    /// A time up to which everything that was appended has been read, as far as the brokers'
    /// answers since the restore prove it.
    proven: Option<Timestamp>,
    effects: Vec<Effect>,
    dead_letters: Vec<RejectedRecord>,
    dead_letter_bytes: usize,
    misrouted: u64,
    events: u64,
    /// Where the partition ended when the brokers were last asked.
    end: i64,
}

/// What one partition contributes to a transaction.
#[derive(Debug)]
pub struct PartitionBatch {
    /// Which partition.
    pub partition: i32,
    /// Its terminal events, warnings and checkpoint records, in order.
    pub effects: Vec<Effect>,
    /// Its records that could not be used.
    pub dead_letters: Vec<RejectedRecord>,
    /// The offset to commit: one past the last one read.
    pub position: i64,
    /// What to commit beside it.
    pub metadata: OffsetMetadata,
}

/// What happened on a partition since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionCounters {
    /// Records read.
    pub events: u64,
    /// Records whose key belongs on another partition.
    pub misrouted: u64,
    /// What the table counted.
    pub table: Counters,
}

impl Partition {
    /// A partition whose `table` holds what had been applied up to `position`.
    #[must_use]
    pub fn new(number: i32, partition_count: i32, table: SessionTable, position: i64) -> Self {
        Self {
            number,
            partition_count,
            table,
            position,
            flushed: position,
            append_time: None,
            proven: None,
            effects: Vec::new(),
            dead_letters: Vec::new(),
            dead_letter_bytes: 0,
            misrouted: 0,
            events: 0,
            end: position,
        }
    }

    /// Applies records, in the order of their offsets. `now_upper` bounds how late it can be (see
    /// [`Clocks::upper`](super::clocks::Clocks::upper)).
    ///
    /// Returns the offset of one whose key belongs on another partition, if there is any.
    pub fn apply<R: SourceRecord>(&mut self, records: &[R], now_upper: Timestamp) -> Option<i64> {
        let mut misrouted = None;
        for group in records.chunks(GROUP) {
            misrouted = self.apply_group(group, now_upper).or(misrouted);
        }
        misrouted
    }

    fn apply_group<R: SourceRecord>(&mut self, records: &[R], now_upper: Timestamp) -> Option<i64> {
        let mut read = Vec::with_capacity(records.len());
        for record in records {
            if let Some(decoded) = self.read(record) {
                read.push((record, decoded));
            }
        }
        let events: Vec<LoggedEvent<'_>> = read
            .iter()
            .map(|(record, decoded)| LoggedEvent {
                event: decoded.event(),
                offset: record.offset(),
                record_timestamp: record.timestamp().0.min(now_upper),
            })
            .collect();
        let mut refused = Vec::new();
        let outcome = |place, applied| {
            if applied == Applied::Refused {
                refused.push(place);
            }
        };
        self.table.apply_all(&events, &mut self.effects, outcome);
        for place in refused {
            let error = "the tracker holds as many sessions as --max-sessions allows".to_owned();
            self.reject(read[place].0, TOO_MANY_SESSIONS, error);
        }
        let mut misrouted = None;
        for ((record, _), LoggedEvent { event, offset, .. }) in read.iter().zip(&events) {
            if matches!(event.subject, Subject::Session { .. })
                && murmur2_partition(record.key(), self.partition_count) != Some(self.number)
            {
                self.misrouted += 1;
                misrouted = Some(*offset);
            }
        }
        misrouted
    }

    /// Reads the next record; `None` if it has been applied before, or cannot be used.
    fn read<'a>(&mut self, record: &'a impl SourceRecord) -> Option<Decoded<'a>> {
        let offset = record.offset();
        if offset < self.position {
            // Fetched before a seek.
            return None;
        }
        self.position = offset + 1;
        self.events += 1;
        let (timestamp, kind) = record.timestamp();
        if kind == TimestampKind::LogAppendTime {
            self.append_time = self.append_time.max(Some(timestamp));
        }
        decode(record.value())
            .inspect_err(|error| self.reject(record, error.code(), error.to_string()))
            .ok()
    }

    /// The consumer is at `position`, everything before it having been applied: it may
    /// have stepped past control records since the last record.
    pub fn advance_position(&mut self, position: i64) {
        self.position = self.position.max(position);
    }

    /// The brokers said that the partition ended at `end`; by `asked_at`, a time that
    /// had passed before they were asked. If all of that has been read, nothing that
    /// was appended before `asked_at` is unread. While behind, the brokers' own timestamps
    /// tell how far the log has been read; producers' timestamps tell nothing.
    ///
    /// Ends nothing by itself; [`advance`](Partition::advance) does.
    pub fn on_end_offset(&mut self, end: i64, asked_at: Timestamp) {
        self.ends_at(end);
        let read_until = if self.backlog() == 0 {
            Some(asked_at)
        } else {
            self.append_time.map(|at| at.min(asked_at))
        };
        self.proven = self.proven.max(read_until);
    }

    /// The brokers said that the partition ended at `end`; what that means for its sessions
    /// is left open.
    pub fn ends_at(&mut self, end: i64) {
        self.end = end;
    }

    /// Ends what is over by what [`on_end_offset`](Partition::on_end_offset) has proven, and warns of
    /// what is nearly over, as long as there is `room` (in outputs), which it takes away from.
    /// What finds no room stays due.
    pub fn advance(&mut self, room: &mut usize) {
        if let Some(watermark) = self.proven
            && *room > 0
        {
            let before = self.effects.len();
            self.table.advance(watermark, *room, &mut self.effects);
            *room = room.saturating_sub(self.effects.len() - before);
        }
    }

    /// Puts other policies into force.
    pub fn set_policies(&mut self, policies: Arc<PolicySet>) {
        self.table.set_policies(policies);
    }

    /// How much the next transaction has to write so far, in records.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.effects.len() + self.dead_letters.len()
    }

    /// How many checkpoint records of new and changed sessions the next transaction has to
    /// write so far, at most.
    #[must_use]
    pub fn pending_stores(&self) -> usize {
        self.table.pending_stores()
    }

    /// Bytes of dead letters that wait for the next transaction.
    #[must_use]
    pub fn dead_letter_bytes(&self) -> usize {
        self.dead_letter_bytes
    }

    /// What has to be written and committed now; `None` if there is nothing. Sessions are
    /// rewritten for being dirty as long as there is `room`, which it takes away from.
    /// `elapsed` is any clock that never goes back.
    pub fn flush(&mut self, elapsed: Timestamp, room: &mut usize) -> Option<PartitionBatch> {
        let position = self.position;
        let rewritten = self
            .table
            .flush(position, elapsed, *room, &mut self.effects);
        *room = room.saturating_sub(rewritten);
        if self.outputs() == 0 && self.position == self.flushed {
            return None;
        }
        self.flushed = self.position;
        self.dead_letter_bytes = 0;
        Some(PartitionBatch {
            partition: self.number,
            effects: std::mem::take(&mut self.effects),
            dead_letters: std::mem::take(&mut self.dead_letters),
            position: self.position,
            metadata: OffsetMetadata {
                watermark: Some(self.table.watermark()).filter(|at| *at > Timestamp::MIN),
                replay_from: self.table.replay_from(self.position),
            },
        })
    }

    /// One past the last offset read.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// How many offsets lie between the position and where the partition last was known
    /// to end.
    #[must_use]
    pub fn backlog(&self) -> i64 {
        (self.end - self.position).max(0)
    }

    /// The time up to which everything appended has been read.
    #[must_use]
    pub fn watermark(&self) -> Timestamp {
        self.table.watermark()
    }

    /// How many sessions live on the partition.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.table.len()
    }

    /// The live session of this id.
    #[must_use]
    pub fn look_up(&self, id: &str) -> Option<LiveSession> {
        self.table.look_up(id)
    }

    /// Looks for the sessions of a user; see [`SessionTable::search`].
    pub fn search(
        &self,
        user: &UserId,
        start: u32,
        slots: usize,
        room: usize,
        found: &mut Vec<LiveSession>,
    ) -> Option<u32> {
        self.table.search(user, start, slots, room, found)
    }

    /// The policies in force, the most important first, each with how many of the
    /// partition's sessions live under it.
    pub fn sessions_by_policy(&self) -> impl Iterator<Item = (&Arc<Policy>, usize)> {
        self.table.sessions_by_policy()
    }

    /// What happened since the last call.
    pub fn take_counters(&mut self) -> PartitionCounters {
        PartitionCounters {
            events: std::mem::take(&mut self.events),
            misrouted: std::mem::take(&mut self.misrouted),
            table: self.table.take_counters(),
        }
    }

    fn reject(&mut self, record: &impl SourceRecord, reason: &'static str, error: String) {
        let cause = Cause {
            reason,
            error,
            attempts: 1,
        };
        let letter = RejectedRecord::new(record, cause);
        self.dead_letter_bytes += letter.bytes();
        self.dead_letters.push(letter);
    }
}
