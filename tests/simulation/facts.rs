//! The records of the log, kept by their writer: the oracle's ground truth.

use sundown::session::EventKind;
use sundown::wire::forwarded::SourceOffset;

use crate::log::Txn;
use crate::model::Event;

/// A record of the source topic, as it was meant.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    /// The partition that it belongs on.
    pub(crate) partition: i32,
    /// Where it was written.
    pub(crate) origin: SourceOffset,
    /// Its offset on the partition that it belongs on, once it can be read there.
    pub(crate) offset: Option<i64>,
    /// Where it was written for ingest, if it was; then `origin` is where ingest has written it.
    pub(crate) upstream: Option<SourceOffset>,
    /// By the brokers' clock.
    pub(crate) appended: i64,
    /// `None` where it is about every session of the user.
    pub(crate) session: Option<String>,
    pub(crate) kind: EventKind,
    /// The event's time: exact unless a clock was far ahead, when it is clamped to a
    /// moment that depends on when it was read.
    pub(crate) earliest: i64,
    pub(crate) latest: i64,
    /// Whether it says something that a policy may depend on.
    pub(crate) describes: bool,
    /// What the reference model reads, if events keep their order.
    pub(crate) event: Option<Event>,
    pub(crate) txn: Option<Txn>,
    /// Not a session event at all.
    pub(crate) garbage: bool,
    /// Retention has deleted it.
    pub(crate) deleted: bool,
    /// And that before it was committed as read.
    pub(crate) lost: bool,
}

impl Fact {
    /// Whether the record is activity of a user.
    pub(crate) fn is_activity(&self) -> bool {
        let active = matches!(self.kind, EventKind::Activity | EventKind::Login);
        active && !self.garbage && self.session.is_some()
    }

    /// Whether it was written to another partition than the one it belongs on.
    pub(crate) fn is_misrouted(&self) -> bool {
        self.origin.partition != self.partition
    }

    /// Whether trackers or ingest have to forward it to where it belongs.
    pub(crate) fn is_forwarded(&self) -> bool {
        self.is_misrouted() || self.upstream.is_some()
    }

    /// Whether it ends sessions.
    pub(crate) fn is_end(&self) -> bool {
        self.kind.ends_with().is_some() && !self.garbage
    }
}

/// How far a tracker's idea of the present may be behind the brokers'.
pub(crate) const CLOCK_FUZZ: i64 = 3_000;
/// After everything.
const NEVER: i64 = i64::MAX / 4;

/// When an event counts that says it happened `at`.
/// The timestamps that a record and its forwarded copy may have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stamps {
    ByProducer(i64),
    /// The earliest and the latest of the brokers' clocks.
    ByBrokers((i64, i64)),
}

pub(crate) fn counts_from_to(
    at: i64,
    appended: i64,
    stamps: Stamps,
    max_future_skew: i64,
) -> (i64, i64) {
    let (Stamps::ByProducer(earliest) | Stamps::ByBrokers((earliest, _))) = stamps;
    let lowest = earliest.min(appended - CLOCK_FUZZ);
    if at <= lowest + max_future_skew {
        return (at, at);
    }
    match stamps {
        Stamps::ByProducer(_) => (lowest.min(at), NEVER),
        // Clamped to the brokers' timestamp, or a little less.
        Stamps::ByBrokers((_, latest)) if at > latest + max_future_skew => (lowest, latest),
        Stamps::ByBrokers(_) => (lowest, at),
    }
}
