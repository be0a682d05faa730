//! The records of `sundown.watermarks` by which trackers agree how sessions are distributed over
//! partitions, before any of them commits that.
//!
//! A tracker that finds neither a committed offset nor such a record writes one, under a key of its own:
//! `layout/` and a UUID. Of several, the first in the topic counts. No key is used twice, so compaction keeps
//! all of them, and with them their order.
//!
//! ```json
//! {"v": 1, "routing": {"partitions": 3, "key": "session_id"}, "topic_id": "4xPz0kVsTYe9S1mcvNq-Aw"}
//! ```

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::routing::Routing;

/// The beginning of the keys.
pub const KEY_PREFIX: &[u8] = b"layout/";
/// The version of the format.
const VERSION: u32 = 1;

/// How sessions are distributed, as far as the tracker that wrote it knew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutRecord {
    pub routing: Routing,
    /// The id of the topic of session events; `None` on brokers without topic ids.
    pub topic_id: Option<String>,
}

/// The value is not that of a [`LayoutRecord`], or of a later release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a layout record of version {VERSION}: {0}")]
pub struct LayoutRecordError(String);

#[derive(Serialize, Deserialize)]
struct WireLayout {
    v: u32,
    routing: Routing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic_id: Option<String>,
}

impl LayoutRecord {
    /// Returns a key that no other record has.
    #[must_use]
    pub fn new_key() -> Vec<u8> {
        [KEY_PREFIX, Uuid::new_v4().to_string().as_bytes()].concat()
    }

    /// Encodes the value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let wire = WireLayout {
            v: VERSION,
            routing: self.routing,
            topic_id: self.topic_id.clone(),
        };
        // Numbers and strings always serialize.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// Decodes a value; unknown fields are ignored.
    ///
    /// # Errors
    /// [`LayoutRecordError`].
    pub fn decode(value: &[u8]) -> Result<Self, LayoutRecordError> {
        let wire: WireLayout =
            serde_json::from_slice(value).map_err(|error| LayoutRecordError(error.to_string()))?;
        if wire.v != VERSION || wire.routing.partitions < 1 {
            let problem = format!("version {}, {} partitions", wire.v, wire.routing.partitions);
            return Err(LayoutRecordError(problem));
        }
        Ok(Self {
            routing: wire.routing,
            topic_id: wire.topic_id,
        })
    }

    /// Whether the record is about the topic with this id. Unknown ids are not compared.
    #[must_use]
    pub fn is_of(&self, topic_id: Option<&str>) -> bool {
        match (self.topic_id.as_deref(), topic_id) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
    }
}
