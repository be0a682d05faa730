//! One live partition: its sessions, its position, and what the next transaction writes for
//! it.

use std::sync::Arc;

use super::offset_metadata::OffsetMetadata;
use super::rejected_record::RejectedRecord;
use crate::session::{
    Applied, Counters, CutOffScope, Effect, LiveSession, LoggedEvent, Lookup, Policy, PolicySet,
    SessionId, SessionTable, Subject, Timestamp, UserId,
};
use crate::wire::dead_letter::Cause;
use crate::wire::event::{DecodeLimits, Decoded, DroppedAttributes, decode};
use crate::wire::partitioner::murmur2_partition;
use crate::wire::record::{SourceRecord, TimestampKind};

/// The dead-letter reason of events that would start a session beyond `--max-sessions`.
pub const TOO_MANY_SESSIONS: &str = "too_many_sessions";
/// Records that are decoded before the first of them is applied: few enough to stay in the
/// processor's nearest caches until then.
const GROUP: usize = 64;

/// A partition that has been restored and is being read.
#[derive(Debug)]
pub struct Partition {
    number: i32,
    /// The number of partitions of the source topic.
    partition_count: i32,
    table: SessionTable,
    /// One past the last offset read.
    position: i64,
    /// The position at the last flush.
    flushed: i64,
    /// The latest broker timestamp read, on a topic with LogAppendTime.
    append_time: Option<Timestamp>,
    /// A time up to which everything appended has been read, as proven by the end offsets since
    /// the restore.
    proven: Option<Timestamp>,
    effects: Vec<Effect>,
    dead_letters: Vec<RejectedRecord>,
    dead_letter_bytes: usize,
    misrouted: u64,
    events: u64,
    dropped_attributes: DroppedAttributes,
    /// The latest end offset.
    end: i64,
}

/// What one partition contributes to a transaction.
#[derive(Debug)]
pub struct PartitionBatch {
    /// The partition.
    pub partition: i32,
    /// Its terminal events, warnings and checkpoint records, in order.
    pub effects: Vec<Effect>,
    /// Its records that go to the dead-letter topic.
    pub dead_letters: Vec<RejectedRecord>,
    /// The offset to commit: one past the last one read.
    pub position: i64,
    /// The metadata to commit with the offset.
    pub metadata: OffsetMetadata,
}

/// What a partition has counted since the counters were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartitionCounters {
    /// Records read.
    pub events: u64,
    /// Records without a key, or whose key belongs to another partition.
    pub misrouted: u64,
    /// Attributes that were dropped from events.
    pub dropped_attributes: DroppedAttributes,
    /// The counters of its session table.
    pub table: Counters,
}

impl Partition {
    /// Creates a partition whose `table` holds the state at `position`.
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
            dropped_attributes: DroppedAttributes::default(),
            end: position,
        }
    }

    /// Applies records, in the order of their offsets. `now_upper` is the latest that the time
    /// can be ([`Clocks::upper`](super::clocks::Clocks::upper)).
    ///
    /// Returns the offset of a misrouted record, if any.
    pub fn apply<R: SourceRecord>(
        &mut self,
        records: &[R],
        now_upper: Timestamp,
        limits: &DecodeLimits,
    ) -> Option<i64> {
        let mut misrouted = None;
        for group in records.chunks(GROUP) {
            misrouted = self.apply_group(group, now_upper, limits).or(misrouted);
        }
        misrouted
    }

    fn apply_group<R: SourceRecord>(
        &mut self,
        records: &[R],
        now_upper: Timestamp,
        limits: &DecodeLimits,
    ) -> Option<i64> {
        let mut accepted = Vec::with_capacity(records.len());
        for record in records {
            if let Some(decoded) = self.read(record, now_upper, limits) {
                accepted.push((record, decoded));
            }
        }
        let events: Vec<LoggedEvent<'_>> = accepted
            .iter()
            .map(|(record, decoded)| LoggedEvent {
                event: decoded.event(),
                offset: record.offset(),
                record_timestamp: record.time(now_upper).unwrap_or(now_upper),
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
            self.reject(accepted[place].0, TOO_MANY_SESSIONS, error);
        }
        let mut misrouted = None;
        for ((record, _), LoggedEvent { event, offset, .. }) in accepted.iter().zip(&events) {
            if matches!(event.subject, Subject::Session { .. })
                && murmur2_partition(record.key(), self.partition_count) != Some(self.number)
            {
                self.misrouted += 1;
                misrouted = Some(*offset);
            }
        }
        misrouted
    }

    /// Decodes the next record; `None` if it has been applied before, or is rejected.
    fn read<'a>(
        &mut self,
        record: &'a impl SourceRecord,
        now_upper: Timestamp,
        limits: &DecodeLimits,
    ) -> Option<Decoded<'a>> {
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
        let decoded = decode(record.value(), record.time(now_upper), limits)
            .inspect_err(|error| self.reject(record, error.code(), error.to_string()))
            .ok()?;
        self.note_dropped_attributes(offset, decoded.dropped_attributes());
        Some(decoded)
    }

    /// Counts dropped attributes; logs the first after each [`Partition::take_counters`], of which
    /// there is one per process report.
    fn note_dropped_attributes(&mut self, offset: i64, dropped: DroppedAttributes) {
        if !dropped.any() {
            return;
        }
        if !self.dropped_attributes.any() {
            tracing::warn!(
                partition = self.number,
                offset,
                unusable = dropped.unusable,
                too_large = dropped.too_large,
                "attributes dropped from an event: values must be strings, numbers or booleans, \
                 and all names and values together at most --max-attributes bytes"
            );
        }
        self.dropped_attributes += dropped;
    }

    /// Advances to the consumer's position, which may be past control records; all records before
    /// it have been applied.
    pub fn advance_position(&mut self, position: i64) {
        self.position = self.position.max(position);
    }

    /// Records an end offset that the brokers were asked for after `asked_at`. If everything up
    /// to it has been read, nothing that was appended before `asked_at` is unread. While the
    /// partition is behind, only the brokers' timestamps prove how far the log has been read;
    /// producers' timestamps do not.
    ///
    /// Ends no session; [`advance`](Partition::advance) does.
    pub fn on_end_offset(&mut self, end: i64, asked_at: Timestamp) {
        self.set_end(end);
        let read_until = if self.backlog() == 0 {
            Some(asked_at)
        } else {
            self.append_time.map(|at| at.min(asked_at))
        };
        self.proven = self.proven.max(read_until);
    }

    /// Records an end offset without a conclusion for the sessions.
    pub fn set_end(&mut self, end: i64) {
        self.end = end;
    }

    /// Ends sessions, and warns of endings, up to the time that
    /// [`on_end_offset`](Partition::on_end_offset) has proven, while there is `room`, in outputs,
    /// from which it subtracts. Endings and warnings without room stay due.
    pub fn advance(&mut self, room: &mut usize) {
        if let Some(watermark) = self.proven
            && *room > 0
        {
            let before = self.effects.len();
            self.table.advance(watermark, *room, &mut self.effects);
            *room = room.saturating_sub(self.effects.len() - before);
        }
    }

    /// Activates policies.
    pub fn set_policies(&mut self, policies: Arc<PolicySet>) {
        self.table.set_policies(policies);
    }

    /// Returns the number of effects and dead letters for the next transaction.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.effects.len() + self.dead_letters.len()
    }

    /// Returns the most checkpoint records of new and changed sessions that the next transaction
    /// has to write.
    #[must_use]
    pub fn pending_stores(&self) -> usize {
        self.table.pending_stores()
    }

    /// Returns the bytes of dead letters for the next transaction.
    #[must_use]
    pub fn dead_letter_bytes(&self) -> usize {
        self.dead_letter_bytes
    }

    /// Takes everything that has to be written and committed; `None` if there is nothing. Dirty
    /// sessions are rewritten while there is `room`, from which it subtracts. `elapsed` is of a
    /// clock that never goes back.
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

    /// Returns one past the last offset read.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Returns the number of offsets between the position and the latest end offset.
    #[must_use]
    pub fn backlog(&self) -> i64 {
        (self.end - self.position).max(0)
    }

    /// Returns the time up to which everything appended has been read.
    #[must_use]
    pub fn watermark(&self) -> Timestamp {
        self.table.watermark()
    }

    /// Returns the number of live sessions.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.table.len()
    }

    /// Returns what is known of a session id.
    #[must_use]
    pub fn look_up(&self, id: &str) -> Lookup {
        self.table.look_up(id)
    }

    /// Searches for the sessions of a user; see [`SessionTable::search`].
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

    /// Counts live sessions; see [`SessionTable::count`].
    #[must_use]
    pub fn count(
        &self,
        scope: &CutOffScope,
        except: Option<&SessionId>,
        start: u32,
        slots: usize,
    ) -> (u64, Option<u32>) {
        self.table.count(scope, except, start, slots)
    }

    /// Returns the active policies by descending priority, each with the number of its live
    /// sessions.
    pub fn sessions_by_policy(&self) -> impl Iterator<Item = (&Arc<Policy>, usize)> {
        self.table.sessions_by_policy()
    }

    /// Takes what has been counted since the last call.
    pub fn take_counters(&mut self) -> PartitionCounters {
        PartitionCounters {
            events: std::mem::take(&mut self.events),
            misrouted: std::mem::take(&mut self.misrouted),
            dropped_attributes: std::mem::take(&mut self.dropped_attributes),
            table: self.table.take_counters(),
        }
    }

    fn reject(&mut self, record: &impl SourceRecord, reason: &'static str, error: String) {
        let cause = Cause {
            reason,
            error,
            attempts: 1,
        };
        let rejected = RejectedRecord::new(record, cause);
        self.dead_letter_bytes += rejected.bytes();
        self.dead_letters.push(rejected);
    }
}
