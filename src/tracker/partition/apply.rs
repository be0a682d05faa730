//! Applies, forwards and rejects records.

use smallvec::SmallVec;

use super::{GROUP, Partition, TOO_MANY_SESSIONS};
use crate::dead_letters::rejected_record::RejectedRecord;
use crate::session::{Applied, LoggedEvent, Timestamp};
use crate::tracker::forwarding::{
    Destination, FORWARDING_LOOP, ForwardCause, ForwardedRecord, MisroutedRecord,
};
use crate::tracker::offset_metadata::LastRecord;
use crate::wire::dead_letter::Cause;
use crate::wire::event::{DecodeError, DecodeLimits, Decoded, DroppedAttributes, decode};
use crate::wire::forwarded::Forwarded;
use crate::wire::record::{SourceRecord, TimestampKind};
use crate::wire::routing::Route;

impl Partition {
    /// Applies records, in the order of their offsets, and forwards those that belong on other
    /// partitions. `now_upper` is the latest that the time can be
    /// ([`Clocks::upper`](crate::clock::clocks::Clocks::upper)).
    pub fn apply<R: SourceRecord>(
        &mut self,
        records: &[R],
        now_upper: Timestamp,
        limits: &DecodeLimits,
    ) {
        for group in records.chunks(GROUP) {
            self.apply_group(group, now_upper, limits);
        }
    }

    fn apply_group<R: SourceRecord>(
        &mut self,
        records: &[R],
        now_upper: Timestamp,
        limits: &DecodeLimits,
    ) {
        // On the stack: large allocations make the allocator tidy up the many small ones of the client.
        let mut accepted = SmallVec::<[_; GROUP]>::new();
        for record in records {
            let mark = Forwarded::decode(record.key());
            // A call of the client: once for each record.
            let timestamp = record.timestamp();
            let time = Forwarded::time(mark, timestamp.0, now_upper);
            if let Some(decoded) = self.read(record, timestamp, time, limits)
                && self.route(record, &decoded, mark)
            {
                accepted.push((record, decoded, time.unwrap_or(now_upper)));
            }
        }
        let mut events = SmallVec::<[_; GROUP]>::new();
        events.extend(accepted.iter().map(|(record, decoded, time)| LoggedEvent {
            event: decoded.event(),
            offset: record.offset(),
            record_timestamp: *time,
        }));
        let mut refused = Vec::new();
        let outcome = |place, applied| {
            if applied == Applied::Refused {
                refused.push(place);
            }
        };
        self.table.apply_all(&events, &mut self.effects, outcome);
        for place in refused {
            let error =
                "the tracker holds as many sessions as --max-sessions or --memory-limit allows"
                    .to_owned();
            self.reject(accepted[place].0, TOO_MANY_SESSIONS, error);
        }
    }

    /// Forwards an event that belongs on other partitions. Returns whether it is to be applied on
    /// this one.
    fn route(
        &mut self,
        record: &impl SourceRecord,
        decoded: &Decoded<'_>,
        mark: Option<Forwarded>,
    ) -> bool {
        let subject = decoded.event().subject;
        match self.routing.route(subject) {
            Route::Partition(partition) if partition == self.number => true,
            Route::Partition(partition) => {
                let id = self.routing.id(subject).unwrap_or_default();
                let cause = ForwardCause::of(mark, record.key(), id);
                self.forward(record, mark, Destination::Partition(partition), cause);
                false
            }
            Route::EveryPartition => {
                let copies = mark.map_or(1, |mark| mark.copies.max(1));
                if copies < self.routing.partitions {
                    let cause = ForwardCause::SinglePartition;
                    self.forward(record, mark, Destination::EveryOther, cause);
                }
                true
            }
            Route::Unknown => {
                let error = DecodeError::Missing("user_id");
                let text = format!("{error}: events are routed by user (--routing-key user_id)");
                self.reject(record, error.code(), text);
                false
            }
        }
    }

    fn forward(
        &mut self,
        record: &impl SourceRecord,
        mark: Option<Forwarded>,
        to: Destination,
        cause: ForwardCause,
    ) {
        let place = (self.number, self.routing.partitions);
        let Some(forwarded) = ForwardedRecord::new(record, mark, place, to) else {
            let error =
                "the event was forwarded too often: do all trackers have the same --routing-key?";
            self.reject(record, FORWARDING_LOOP, error.to_owned());
            return;
        };
        let copies = forwarded
            .partitions(self.number, self.routing.partitions)
            .count();
        self.output_bytes += forwarded.value.len() * copies;
        self.forwarded.push(forwarded);
        self.forward_counts.add(cause);
        if cause.remedy().is_some() {
            let (partition, offset) = (self.number, record.offset());
            self.misrouted = Some(MisroutedRecord {
                partition,
                offset,
                cause,
            });
        }
    }

    /// Decodes the next record; `None` if it has been applied before, or is rejected.
    fn read<'a>(
        &mut self,
        record: &'a impl SourceRecord,
        (timestamp, kind): (Timestamp, TimestampKind),
        time: Option<Timestamp>,
        limits: &DecodeLimits,
    ) -> Option<Decoded<'a>> {
        let offset = record.offset();
        if offset < self.position {
            // Fetched before a seek.
            return None;
        }
        self.position = offset + 1;
        self.identity.last_record = Some(LastRecord {
            offset,
            timestamp: timestamp.as_millis(),
        });
        self.events += 1;
        if kind == TimestampKind::LogAppendTime {
            self.append_time = self.append_time.max(Some(timestamp));
        }
        let decoded = decode(record.value(), time, limits)
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

    fn reject(&mut self, record: &impl SourceRecord, reason: &'static str, error: String) {
        let cause = Cause {
            reason,
            error,
            attempts: 1,
        };
        let rejected = RejectedRecord::new(record, cause);
        self.output_bytes += rejected.bytes();
        self.dead_letters.push(rejected);
    }
}
