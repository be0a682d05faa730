//! The mark of session events that a tracker has written to other partitions.
//!
//! It is the record's key: a NUL byte and a JSON object. The key of a session event decides
//! nothing, no id begins with NUL, and a key can be read at the price of one comparison for
//! every other record; `docs/decisions/forwarding.md` gives the reasons.

use serde::{Deserialize, Serialize};

use super::record::record_time;
use crate::session::Timestamp;

/// The first byte of the key of a marked record.
const MARK: u8 = 0;
/// How often an event is forwarded before it goes to the dead-letter topic: each change of the
/// number of partitions or of the routing key can cause one more.
pub const MAX_HOPS: u8 = 8;

/// The mark of a record that a tracker, or a writer of events that concern all partitions, has
/// written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forwarded {
    /// The record timestamp of the original, in epoch milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    /// Where the original is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<SourceOffset>,
    /// How often the event has been forwarded.
    #[serde(default)]
    pub hops: u8,
    /// How many partitions, from the first on, have a copy of an event that concerns all; 0 if it
    /// is no such copy.
    #[serde(default)]
    pub copies: i32,
}

/// A place in the session event topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceOffset {
    pub partition: i32,
    pub offset: i64,
}

impl Forwarded {
    /// The mark of the copies that a writer sends to each of `partitions` partitions.
    #[must_use]
    pub fn copies(partitions: i32) -> Self {
        Self {
            copies: partitions,
            ..Self::default()
        }
    }

    /// Returns the mark for forwarding the record at `origin`, which has this timestamp and
    /// perhaps a mark already; `None` if it has been forwarded too often.
    #[must_use]
    pub fn again(mark: Option<Self>, timestamp: Timestamp, origin: SourceOffset) -> Option<Self> {
        let mark = mark.unwrap_or_default();
        (mark.hops < MAX_HOPS).then(|| Self {
            timestamp: mark.timestamp.or(Some(timestamp.as_millis())),
            origin: mark.origin.or(Some(origin)),
            hops: mark.hops + 1,
            copies: mark.copies,
        })
    }

    /// Decodes the mark in a record's key, if it is one.
    #[must_use]
    pub fn decode(key: Option<&[u8]>) -> Option<Self> {
        let (&MARK, json) = key?.split_first()? else {
            return None;
        };
        serde_json::from_slice(json).ok()
    }

    /// Encodes the mark as a record's key.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut key = vec![MARK];
        // Writing to memory cannot fail, and numbers always serialize.
        let _always_ok = serde_json::to_writer(&mut key, self);
        key
    }

    /// Returns the record timestamp that counts: that of the original, which is no later than
    /// `own`, the record's; see [`record_time`].
    #[must_use]
    pub fn time(mark: Option<Self>, own: Timestamp, now_upper: Timestamp) -> Option<Timestamp> {
        let own = record_time(own, now_upper);
        let original = mark.and_then(|mark| mark.timestamp);
        let original = original.and_then(|at| record_time(Timestamp::from_millis(at), now_upper));
        match (original, own) {
            (Some(original), Some(own)) => Some(original.min(own)),
            (original, own) => original.or(own),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_764_000_000_000);
    const ORIGIN: SourceOffset = SourceOffset {
        partition: 2,
        offset: 17,
    };

    #[test]
    fn the_first_record_timestamp_and_origin_are_kept() {
        let once = Forwarded::again(None, AT, ORIGIN).unwrap();
        let other = SourceOffset {
            partition: 0,
            offset: 1,
        };
        let later = Timestamp::from_millis(AT.as_millis() + 5_000);
        let twice = Forwarded::again(Some(once), later, other).unwrap();
        assert_eq!((twice.origin, twice.hops), (Some(ORIGIN), 2));
        assert_eq!(twice.timestamp, Some(AT.as_millis()));
    }

    #[test]
    fn a_loop_ends() {
        let mut mark = Forwarded::again(None, AT, ORIGIN);
        let mut hops = 0;
        while let Some(forwarded) = mark {
            hops += 1;
            mark = Forwarded::again(Some(forwarded), AT, ORIGIN);
        }
        assert_eq!(hops, MAX_HOPS);
    }

    proptest! {
        #[test]
        fn encoded_marks_can_be_decoded(partition: i32, offset: i64, at: i64, copies: i32) {
            let mark = Forwarded::copies(copies);
            let origin = SourceOffset { partition, offset };
            let mark = Forwarded::again(Some(mark), Timestamp::from_millis(at), origin);
            prop_assert_eq!(Forwarded::decode(Some(&mark.unwrap().encode())), mark);
        }

        #[test]
        fn other_keys_are_no_marks(mut key: Vec<u8>) {
            prop_assert_eq!(Forwarded::decode(None), None);
            prop_assert!(key.first() == Some(&0) || Forwarded::decode(Some(&key)).is_none());
            key.insert(0, 0);
            let _no_panic = Forwarded::decode(Some(&key));
        }
    }
}
