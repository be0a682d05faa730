//! The records of `sundown.watermarks`.
//!
//! A process writes, under its own key, up to when it has read partitions of a topic and written
//! everything that belongs elsewhere to where it belongs. A record states facts about logs, so it
//! stays true after its process has ended or lost the partitions: of several statements about a
//! partition, the latest counts.
//!
//! ```json
//! {"v": 1, "routing": {"partitions": 3, "key": "session_id"},
//!  "watermarks": [{"topic": "session_logs", "partition": 0, "until": 1764000000123}]}
//! ```
//!
//! Trackers write entries of the session event topic, with the routing that they apply, under the
//! key `tracker-HOST-ID`. A process that brings events from elsewhere writes entries of its source
//! topics, without a routing, under keys that begin with `ingest/`. Keys that begin with `layout/` are
//! those of [`LayoutRecord`]s. Records with other keys are ignored.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::layout::{self, LayoutRecord};
use super::routing::Routing;
use crate::session::Timestamp;

/// The version of the format.
const VERSION: u32 = 1;
/// The most entries of one record that are read.
const MAX_ENTRIES: usize = 100_000;
/// The most processes whose records can be used.
const MAX_PROCESSES: usize = 10_000;
/// The most layout records that are kept: only the first of a topic counts.
const MAX_LAYOUTS: usize = 1_000;
/// The most superseded records that are named at once.
const MAX_SUPERSEDED: usize = 100;

/// What a process has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatermarkRecord {
    /// The routing that the process applies; absent for entries of source topics.
    pub routing: Option<Routing>,
    /// Up to when the process has read each partition.
    pub watermarks: Vec<Watermark>,
}

/// Up to when a partition has been read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    pub topic: String,
    pub partition: i32,
    /// Everything that was appended before this time, in epoch milliseconds, has been read, and
    /// what belongs elsewhere has been written there.
    #[serde(with = "millis")]
    pub until: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct WireRecord {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    routing: Option<Routing>,
    watermarks: Vec<Watermark>,
}

/// Why a record of the topic cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatermarkError {
    /// The key is not that of a tracker or of a source.
    #[error("its key is not that of a process that writes watermarks")]
    UnknownKey,
    /// The value is no watermark record.
    #[error("it is not a watermark record: {0}")]
    Malformed(String),
    /// The record was written by a later release.
    #[error("it has version {0}, and this release reads version {VERSION}: upgrade this process")]
    Version(u32),
}

impl WatermarkError {
    /// Every [`reason`](Self::reason), for metrics.
    pub const REASONS: [&str; 3] = ["unknown_key", "malformed", "later_version"];

    /// Returns one of [`REASONS`](Self::REASONS).
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownKey => "unknown_key",
            Self::Malformed(_) => "malformed",
            Self::Version(_) => "later_version",
        }
    }
}

/// What a process that writes watermarks states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publisher {
    /// How far it has read partitions of the session event topic.
    Tracker,
    /// How far it has forwarded source topics.
    Ingest,
    /// How sessions are distributed.
    Layout,
}

impl Publisher {
    fn of(key: &[u8]) -> Option<Self> {
        if key.starts_with(b"tracker-") {
            Some(Self::Tracker)
        } else if key.starts_with(b"ingest/") {
            Some(Self::Ingest)
        } else if key.starts_with(layout::KEY_PREFIX) {
            Some(Self::Layout)
        } else {
            None
        }
    }
}

impl WatermarkRecord {
    /// Encodes the value of a record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let wire = WireRecord {
            v: VERSION,
            routing: self.routing,
            watermarks: self.watermarks.clone(),
        };
        // Numbers and strings always serialize.
        serde_json::to_vec(&wire).unwrap_or_default()
    }

    /// Decodes the value of a record; unknown fields are ignored.
    ///
    /// # Errors
    /// [`WatermarkError`] if it is damaged or of a later release.
    pub fn decode(value: &[u8]) -> Result<Self, WatermarkError> {
        #[derive(Deserialize)]
        struct VersionOnly {
            v: u32,
        }
        let malformed = |error: serde_json::Error| WatermarkError::Malformed(error.to_string());
        let VersionOnly { v } = serde_json::from_slice(value).map_err(malformed)?;
        if v != VERSION {
            return Err(WatermarkError::Version(v));
        }
        let wire: WireRecord = serde_json::from_slice(value).map_err(malformed)?;
        if wire.watermarks.len() > MAX_ENTRIES {
            let problem = format!("more than {MAX_ENTRIES} entries");
            return Err(WatermarkError::Malformed(problem));
        }
        Ok(Self {
            routing: wire.routing,
            watermarks: wire.watermarks,
        })
    }
}

/// The latest usable record of each process.
///
/// A tracker's record that cannot be used is ignored: what its last one stated stays true, and a
/// partition without a statement holds endings until a tracker states one. Without the record of
/// a source its topics would not be known, so one that cannot be used holds endings until it is
/// replaced or deleted.
#[derive(Debug, Default)]
pub struct WatermarkStore {
    trackers: BTreeMap<Vec<u8>, WatermarkRecord>,
    sources: BTreeMap<Vec<u8>, Result<WatermarkRecord, WatermarkError>>,
    /// In the order of the topic.
    layouts: Vec<LayoutRecord>,
}

impl WatermarkStore {
    /// Applies a record of the topic; `value` is `None` in a tombstone.
    ///
    /// # Errors
    /// [`WatermarkError`] if the record cannot be used.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), WatermarkError> {
        let publisher = Publisher::of(key).ok_or(WatermarkError::UnknownKey)?;
        match (publisher, value) {
            (Publisher::Tracker, None) => drop(self.trackers.remove(key)),
            (Publisher::Tracker, Some(value)) => {
                let record = WatermarkRecord::decode(value)?;
                self.trackers.insert(key.to_vec(), record);
            }
            (Publisher::Ingest, None) => drop(self.sources.remove(key)),
            (Publisher::Ingest, Some(value)) => {
                let record = WatermarkRecord::decode(value);
                self.sources.insert(key.to_vec(), record.clone());
                record?;
            }
            // Trackers that have read the record follow it, so it counts for others too.
            (Publisher::Layout, None) => {}
            (Publisher::Layout, Some(value)) => {
                let record = LayoutRecord::decode(value);
                let record =
                    record.map_err(|error| WatermarkError::Malformed(error.to_string()))?;
                if self.layouts.len() < MAX_LAYOUTS {
                    self.layouts.push(record);
                }
            }
        }
        Ok(())
    }

    /// Returns what the records state about `topic`, as far as it was written with `routing`, and
    /// about all other topics; `own` is the key of the process that asks.
    #[must_use]
    pub fn upstream(&self, topic: &str, routing: Routing, own: &[u8]) -> Upstream {
        let mut upstream = Upstream {
            superseded: self.superseded(own),
            ..Upstream::default()
        };
        if self.trackers.len() + self.sources.len() > MAX_PROCESSES {
            upstream.problem = Some(format!(
                "there are records of more than {MAX_PROCESSES} processes; delete those that no process writes any more"
            ));
        }
        for record in self.trackers.values() {
            if record.routing != Some(routing) {
                continue;
            }
            for entry in record.watermarks.iter().filter(|one| one.topic == topic) {
                raise(&mut upstream.partitions, entry.partition, entry.until);
            }
        }
        let mut sources = BTreeMap::new();
        for (key, record) in &self.sources {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let key = String::from_utf8_lossy(key);
                    let key: String = key.chars().take(64).collect();
                    upstream.problem = Some(format!(
                        "the record of the source with key {key:?} cannot be used: {error}; start the source again, or delete the record with a tombstone"
                    ));
                    continue;
                }
            };
            for entry in record.watermarks.iter().filter(|one| one.topic != topic) {
                let place = (entry.topic.as_str(), entry.partition);
                raise(&mut sources, place, entry.until);
            }
        }
        upstream.sources = sources.values().copied().min();
        for ((topic, _), until) in sources {
            let least = upstream
                .source_topics
                .entry(topic.to_owned())
                .or_insert(until);
            *least = until.min(*least);
        }
        upstream
    }

    /// Returns how sessions are distributed as trackers state it, without repetitions.
    #[must_use]
    pub fn routings(&self) -> BTreeSet<Routing> {
        let routings = self.trackers.values().filter_map(|record| record.routing);
        routings.collect()
    }

    /// Returns the layout that trackers have agreed on for the topic with this id, if any.
    #[must_use]
    pub fn agreed_layout(&self, topic_id: Option<&str>) -> Option<Routing> {
        let mut layouts = self.layouts.iter();
        let first = layouts.find(|layout| layout.is_of(topic_id))?;
        Some(first.routing)
    }

    /// Returns the keys of trackers' records other than `own` that state nothing that other
    /// records do not state as well: those of processes whose partitions others have.
    fn superseded(&self, own: &[u8]) -> Vec<Vec<u8>> {
        let mut latest = BTreeMap::new();
        for (key, record) in &self.trackers {
            for entry in &record.watermarks {
                let place = (record.routing, entry.topic.as_str(), entry.partition);
                let best = latest.entry(place).or_insert((entry.until, key));
                // Of equal statements, that of the greatest key stays.
                *best = (*best).max((entry.until, key));
            }
        }
        let is_superseded = |(key, record): &(&Vec<u8>, &WatermarkRecord)| {
            let stated_by_others = |entry: &Watermark| {
                let place = (record.routing, entry.topic.as_str(), entry.partition);
                latest.get(&place).is_some_and(|(_, by)| by != key)
            };
            key.as_slice() != own && record.watermarks.iter().all(stated_by_others)
        };
        let superseded = self.trackers.iter().filter(is_superseded);
        superseded
            .take(MAX_SUPERSEDED)
            .map(|(key, _)| key.clone())
            .collect()
    }
}

fn raise<K: Ord>(latest: &mut BTreeMap<K, Timestamp>, key: K, until: Timestamp) {
    let known = latest.entry(key).or_insert(until);
    *known = (*known).max(until);
}

/// What the topic states about everything from which events may still come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// Up to when each partition of the session event topic has been read, and everything that
    /// belongs to other partitions has been written there.
    pub partitions: BTreeMap<i32, Timestamp>,
    /// The least of the watermarks of all source topics; `None` without sources.
    pub sources: Option<Timestamp>,
    /// The least of the watermarks of each source topic.
    pub source_topics: BTreeMap<String, Timestamp>,
    /// Why the topic proves nothing, if a record of it cannot be used.
    pub problem: Option<String>,
    /// Keys of records of trackers that have ended, which can be deleted.
    pub superseded: Vec<Vec<u8>>,
    /// How many records that cannot be used have been read, by [`WatermarkError::REASONS`].
    pub unusable: [u64; WatermarkError::REASONS.len()],
}

mod millis {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::session::Timestamp;

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde requires a reference"
    )]
    pub(super) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(at.as_millis())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        Ok(Timestamp::from_millis(i64::deserialize(from)?))
    }
}

#[cfg(test)]
mod tests;
