//! One live partition: its sessions, its position, and what the next transaction writes for
//! it.

mod apply;

use std::collections::VecDeque;
use std::sync::Arc;

use super::forwarding::{ForwardCounts, ForwardedRecord, MisroutedRecord};
use super::offset_metadata::{LogIdentity, OffsetMetadata};
use crate::dead_letters::rejected_record::RejectedRecord;
use crate::kafka::topic_ids::TopicId;
use crate::session::{
    Counters, CutOffScope, Effect, EndingCount, LiveSession, Lookup, Policy, PolicySet, SessionId,
    SessionTable, Span, Timestamp, UserId,
};
use crate::wire::event::DroppedAttributes;
use crate::wire::routing::Routing;

/// The dead-letter reason of events that would start a session beyond `--max-sessions`.
pub const TOO_MANY_SESSIONS: &str = "too_many_sessions";
/// Records that are decoded before the first of them is applied: few enough to stay in the
/// processor's nearest caches until then.
const GROUP: usize = 64;
/// Bounds the upstream watermarks that wait for the position to reach an end offset.
const MAX_PENDING_UPSTREAM: usize = 64;

/// A partition that has been restored and is being read.
#[derive(Debug)]
pub struct Partition {
    number: i32,
    /// How events are distributed over the partitions of the source topic.
    routing: Routing,
    table: SessionTable,
    /// The topics that the state belongs to.
    identity: LogIdentity,
    /// One past the last offset read.
    position: i64,
    /// The position at the last flush.
    flushed: i64,
    /// The latest broker timestamp read, on a topic with LogAppendTime.
    append_time: Option<Timestamp>,
    /// A time up to which everything appended to this partition has been read, as proven by the
    /// end offsets since the restore.
    own: Option<Timestamp>,
    /// A time up to which everything that other partitions and sources forward to this one has
    /// been read.
    upstream: Option<Timestamp>,
    /// Later such times, each with the end offset that the position has to reach first.
    pending_upstream: VecDeque<(i64, Timestamp)>,
    effects: Vec<Effect>,
    dead_letters: Vec<RejectedRecord>,
    forwarded: Vec<ForwardedRecord>,
    /// Bytes of dead letters and forwarded events.
    output_bytes: usize,
    forward_counts: ForwardCounts,
    misrouted: Option<MisroutedRecord>,
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
    /// Its events that belong on other partitions.
    pub forwarded: Vec<ForwardedRecord>,
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
    /// Events that belong on other partitions.
    pub forwarded: ForwardCounts,
    /// The last of them whose producer should be corrected.
    pub misrouted: Option<MisroutedRecord>,
    /// Attributes that were dropped from events.
    pub dropped_attributes: DroppedAttributes,
    /// The counters of its session table.
    pub table: Counters,
}

impl Partition {
    /// Creates a partition whose `table` holds the state at `position`.
    #[must_use]
    pub fn new(number: i32, routing: Routing, mut table: SessionTable, position: i64) -> Self {
        table.set_upstream(table.watermark());
        Self {
            number,
            routing,
            table,
            identity: LogIdentity::default(),
            position,
            flushed: position,
            append_time: None,
            own: None,
            upstream: None,
            pending_upstream: VecDeque::new(),
            effects: Vec::new(),
            dead_letters: Vec::new(),
            forwarded: Vec::new(),
            output_bytes: 0,
            forward_counts: ForwardCounts::default(),
            misrouted: None,
            events: 0,
            dropped_attributes: DroppedAttributes::default(),
            end: position,
        }
    }

    /// Returns the partition as state of these topics.
    #[must_use]
    pub fn with_identity(self, identity: LogIdentity) -> Self {
        Self { identity, ..self }
    }

    /// Sets whether more memory may be taken for sessions.
    pub fn set_may_grow(&mut self, may_grow: bool) {
        self.table.set_may_grow(may_grow);
    }

    /// Returns the table of the partition.
    #[must_use]
    pub fn into_table(self) -> SessionTable {
        self.table
    }

    /// Advances to the consumer's position, which may be past control records; all records before
    /// it have been applied.
    pub fn advance_position(&mut self, position: i64) {
        self.position = self.position.max(position);
    }

    /// Records an end offset that the brokers were asked for after `asked_at`. If everything up
    /// to it has been read, nothing that was appended before `asked_at` is unread. While the
    /// partition is behind, only the brokers' timestamps prove how far the log has been read, give
    /// or take `skew`, by which their clocks may differ; producers' timestamps do not.
    ///
    /// Ends no session; [`advance`](Partition::advance) does.
    pub fn on_end_offset(&mut self, end: i64, asked_at: Timestamp, skew: Span) {
        self.set_end(end);
        let read_until = if self.backlog() == 0 {
            Some(asked_at)
        } else {
            self.append_time.map(|at| (at - skew).min(asked_at))
        };
        self.own = self.own.max(read_until);
    }

    /// Records what others had forwarded before this end offset was asked for: everything up to
    /// the time `upstream`. That counts once the position has reached `end`.
    pub fn on_upstream(&mut self, end: i64, upstream: Timestamp) {
        self.on_unknown_upstream();
        if self.pending_upstream.len() >= MAX_PENDING_UPSTREAM {
            // The newest replaces the one before: the oldest are reached first.
            self.pending_upstream.pop_back();
        }
        self.pending_upstream.push_back((end, upstream));
        while let Some(&(end, reached)) = self.pending_upstream.front()
            && end <= self.position
        {
            self.upstream = self.upstream.max(Some(reached));
            self.pending_upstream.pop_front();
        }
        // Everything up to the watermark has been applied, whatever it came by.
        let watermark = self.table.watermark();
        self.table
            .set_upstream(self.upstream.map_or(watermark, |at| at.max(watermark)));
    }

    /// Records that events may be forwarded to this partition, also if that was not so until now.
    pub fn on_unknown_upstream(&mut self) {
        if self.upstream == Some(Timestamp::MAX) {
            self.upstream = None;
            self.table.set_upstream(self.table.watermark());
        }
    }

    /// Records that nothing can be forwarded to this partition.
    pub fn on_no_upstream(&mut self) {
        self.upstream = Some(Timestamp::MAX);
        self.table.set_upstream(Timestamp::MAX);
        self.pending_upstream.clear();
    }

    /// Returns whether the records that have been read are not of the topic with this id, as far
    /// as both ids are known.
    #[must_use]
    pub fn is_of_other_topic(&self, id: Option<TopicId>) -> bool {
        let both = self.identity.topic_id.zip(id);
        both.is_some_and(|(own, other)| own != other)
    }

    /// Records an end offset without a conclusion for the sessions.
    pub fn set_end(&mut self, end: i64) {
        self.end = end;
    }

    /// Ends sessions, and warns of endings, up to the time that
    /// [`on_end_offset`](Partition::on_end_offset) and [`on_upstream`](Partition::on_upstream) have
    /// proven, while there is `room`, in outputs,
    /// from which it subtracts. Endings and warnings without room stay due.
    pub fn advance(&mut self, room: &mut usize) {
        if let (Some(own), Some(upstream)) = (self.own, self.upstream)
            && *room > 0
        {
            let watermark = own.min(upstream);
            let before = self.effects.len();
            self.table.advance(watermark, *room, &mut self.effects);
            *room = room.saturating_sub(self.effects.len() - before);
        }
    }

    /// Activates policies.
    pub fn set_policies(&mut self, policies: Arc<PolicySet>) {
        self.table.set_policies(policies);
    }

    /// Returns a time up to which everything appended to this partition has been read, since the
    /// restore.
    #[must_use]
    pub fn own_watermark(&self) -> Option<Timestamp> {
        self.own
    }

    /// Returns whether events wait to be forwarded.
    #[must_use]
    pub fn has_forwards(&self) -> bool {
        !self.forwarded.is_empty()
    }

    /// Returns the number of effects, dead letters and forwarded events for the next transaction.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.effects.len() + self.dead_letters.len() + self.forwarded.len()
    }

    /// Returns the most checkpoint records of new and changed sessions that the next transaction
    /// has to write.
    #[must_use]
    pub fn pending_stores(&self) -> usize {
        self.table.pending_stores()
    }

    /// Returns the bytes of dead letters and forwarded events for the next transaction.
    #[must_use]
    pub fn output_bytes(&self) -> usize {
        self.output_bytes
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
        self.output_bytes = 0;
        Some(PartitionBatch {
            partition: self.number,
            effects: std::mem::take(&mut self.effects),
            dead_letters: std::mem::take(&mut self.dead_letters),
            forwarded: std::mem::take(&mut self.forwarded),
            position: self.position,
            metadata: OffsetMetadata {
                watermark: Some(self.table.watermark()).filter(|at| *at > Timestamp::MIN),
                replay_from: self.table.replay_from(self.position),
                identity: LogIdentity {
                    partitions: Some(self.routing.partitions),
                    sessions: Some(self.table.len() as u64),
                    ..self.identity
                },
                routing: Some(self.routing),
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

    /// Returns the active policies.
    #[must_use]
    pub fn policies(&self) -> &Arc<PolicySet> {
        self.table.policies()
    }

    /// Counts the live sessions that `policies` would end within `ahead` of the watermark; see
    /// [`SessionTable::count_ending`].
    #[must_use]
    pub fn count_ending(
        &self,
        policies: &PolicySet,
        ahead: Span,
        slots: (u32, usize),
        count: &mut EndingCount,
    ) -> Option<u32> {
        let horizon = self.table.watermark() + ahead;
        self.table.count_ending(policies, horizon, slots, count)
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
            forwarded: std::mem::take(&mut self.forward_counts),
            misrouted: self.misrouted.take(),
            dropped_attributes: std::mem::take(&mut self.dropped_attributes),
            table: self.table.take_counters(),
        }
    }
}
