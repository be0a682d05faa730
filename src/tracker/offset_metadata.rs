//! The metadata that the tracker commits with each offset.
//!
//! Kafka stores a string with every committed offset, in the same transaction, so that it can
//! never disagree with the offset: the right place for what a restore has to know.

use serde::{Deserialize, Serialize};

use crate::session::Timestamp;

/// The metadata of a committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetMetadata {
    /// The partition's watermark at the commit; `None` if it had never moved.
    pub watermark: Option<Timestamp>,
    /// The offset from which a restore has to replay the source, at most the committed offset.
    pub replay_from: i64,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watermark: Option<i64>,
    replay_from: i64,
}

const VERSION: u8 = 1;

impl OffsetMetadata {
    /// Encodes as `{"v":1,"watermark":…,"replay_from":…}`, times in epoch milliseconds.
    #[must_use]
    pub fn encode(&self) -> String {
        let wire = Wire {
            v: VERSION,
            watermark: self.watermark.map(Timestamp::as_millis),
            replay_from: self.replay_from,
        };
        // Numbers always serialize.
        serde_json::to_string(&wire).unwrap_or_default()
    }

    /// Decodes metadata; `None` if it is not the tracker's, damaged, or of a later release.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let wire: Wire = serde_json::from_str(text).ok()?;
        (wire.v == VERSION).then_some(Self {
            watermark: wire.watermark.map(Timestamp::from_millis),
            replay_from: wire.replay_from,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_metadata_is_decoded() {
        for watermark in [None, Some(Timestamp::from_millis(1_764_000_000_123))] {
            let metadata = OffsetMetadata {
                watermark,
                replay_from: 42,
            };
            assert_eq!(OffsetMetadata::decode(&metadata.encode()), Some(metadata));
        }
    }

    #[test]
    fn other_metadata_is_not_decoded() {
        for text in [
            "",
            "{}",
            "hello",
            r#"{"v":2,"replay_from":1}"#,
            r#"{"v":1}"#,
        ] {
            assert_eq!(OffsetMetadata::decode(text), None, "{text}");
        }
    }
}
