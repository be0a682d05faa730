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
//! topics, without a routing, under keys that begin with `ingest/`. Records with other keys are
//! ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::routing::Routing;
use crate::session::Timestamp;

/// The version of the format.
const VERSION: u32 = 1;
/// The most entries of one record that are read.
const MAX_ENTRIES: usize = 100_000;
/// The most processes whose records can be used.
const MAX_PROCESSES: usize = 10_000;
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
}

impl Publisher {
    fn of(key: &[u8]) -> Option<Self> {
        if key.starts_with(b"tracker-") {
            Some(Self::Tracker)
        } else if key.starts_with(b"ingest/") {
            Some(Self::Ingest)
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
}

impl WatermarkStore {
    /// Applies a record of the topic; `value` is `None` in a tombstone.
    ///
    /// # Errors
    /// [`WatermarkError`] if the record cannot be used.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), WatermarkError> {
        let publisher = Publisher::of(key).ok_or(WatermarkError::UnknownKey)?;
        let Some(value) = value else {
            match publisher {
                Publisher::Tracker => drop(self.trackers.remove(key)),
                Publisher::Ingest => drop(self.sources.remove(key)),
            }
            return Ok(());
        };
        let record = WatermarkRecord::decode(value);
        match publisher {
            Publisher::Tracker => drop(self.trackers.insert(key.to_vec(), record?)),
            Publisher::Ingest => {
                self.sources.insert(key.to_vec(), record.clone());
                record?;
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
        upstream
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
mod tests {
    use proptest::prelude::*;

    use super::super::routing::RoutingKey;
    use super::*;

    const ROUTING: Routing = Routing {
        partitions: 2,
        key: RoutingKey::SessionId,
    };

    fn record(routing: Option<Routing>, topic: &str, watermarks: &[(i32, i64)]) -> WatermarkRecord {
        let watermarks = watermarks.iter().map(|&(partition, until)| Watermark {
            topic: topic.to_owned(),
            partition,
            until: Timestamp::from_millis(until),
        });
        WatermarkRecord {
            routing,
            watermarks: watermarks.collect(),
        }
    }

    fn store(records: &[(&str, WatermarkRecord)]) -> WatermarkStore {
        let mut store = WatermarkStore::default();
        for (key, record) in records {
            store.apply(key.as_bytes(), Some(&record.encode())).unwrap();
        }
        store
    }

    fn partitions(upstream: &Upstream) -> Vec<(i32, i64)> {
        let partitions = upstream.partitions.iter();
        partitions.map(|(p, at)| (*p, at.as_millis())).collect()
    }

    #[test]
    fn the_latest_statement_about_a_partition_counts() {
        let store = store(&[
            (
                "tracker-a",
                record(Some(ROUTING), "logs", &[(0, 10), (1, 20)]),
            ),
            ("tracker-b", record(Some(ROUTING), "logs", &[(1, 15)])),
        ]);
        let upstream = store.upstream("logs", ROUTING, b"own");
        assert_eq!(partitions(&upstream), [(0, 10), (1, 20)]);
        assert_eq!((upstream.sources, upstream.problem), (None, None));
        assert_eq!(upstream.superseded, [b"tracker-b".to_vec()]);
        assert_eq!(store.superseded(b"tracker-b"), [] as [Vec<u8>; 0]);
    }

    #[test]
    fn statements_under_another_routing_do_not_count() {
        let grown = Routing {
            partitions: 4,
            ..ROUTING
        };
        let store = store(&[
            ("tracker-a", record(Some(ROUTING), "logs", &[(0, 10)])),
            ("tracker-b", record(Some(grown), "logs", &[(0, 5)])),
            ("tracker-c", record(None, "logs", &[(1, 5)])),
        ]);
        assert_eq!(
            partitions(&store.upstream("logs", ROUTING, b"own")),
            [(0, 10)]
        );
        assert_eq!(partitions(&store.upstream("logs", grown, b"own")), [(0, 5)]);
    }

    #[test]
    fn the_least_of_all_sources_counts() {
        let mut store = store(&[
            ("ingest/1", record(None, "nginx", &[(0, 30), (1, 9)])),
            ("ingest/2", record(None, "nginx", &[(1, 40)])),
            ("ingest/3", record(None, "events", &[(0, 25)])),
        ]);
        let least = |store: &WatermarkStore| {
            let sources = store.upstream("logs", ROUTING, b"own").sources;
            sources.map(Timestamp::as_millis)
        };
        assert_eq!(least(&store), Some(25));
        store.apply(b"ingest/3", None).unwrap();
        assert_eq!(least(&store), Some(30));
    }

    const UNUSABLE: [&[u8]; 6] = [b"", b"{}", b"[1]", b"\xff", b"{\"v\":2}", b"{\"v\":1}"];

    #[test]
    fn a_source_record_that_cannot_be_used_is_a_problem_until_it_is_replaced() {
        let mut store = store(&[("tracker-a", record(Some(ROUTING), "logs", &[(0, 10)]))]);
        for value in UNUSABLE {
            store.apply(b"ingest/a\xff\n", Some(value)).unwrap_err();
            let problem = store.upstream("logs", ROUTING, b"own").problem;
            assert!(problem.is_some_and(|text| text.contains("tombstone")));
        }
        store.apply(b"ingest/a\xff\n", None).unwrap();
        assert_eq!(store.upstream("logs", ROUTING, b"own").problem, None);
    }

    #[test]
    fn what_a_tracker_stated_last_stays_true_after_a_record_that_cannot_be_used() {
        let mut store = store(&[("tracker-a", record(Some(ROUTING), "logs", &[(0, 10)]))]);
        let before = store.upstream("logs", ROUTING, b"own");
        for value in UNUSABLE {
            store.apply(b"tracker-a", Some(value)).unwrap_err();
            store.apply(b"tracker-b", Some(value)).unwrap_err();
        }
        assert_eq!(store.upstream("logs", ROUTING, b"own"), before);
    }

    #[test]
    fn records_with_unknown_keys_state_nothing() {
        let mut store = WatermarkStore::default();
        let tracker = record(Some(ROUTING), "logs", &[(0, i64::MAX)]).encode();
        let source = record(None, "nginx", &[(0, 0)]).encode();
        for key in [&b""[..], b"\xff", b"nginx", b"Tracker-a"] {
            for value in [Some(tracker.as_slice()), Some(&source), Some(b"{}"), None] {
                let unknown = Err(WatermarkError::UnknownKey);
                assert_eq!(store.apply(key, value), unknown);
            }
        }
        // Neither does a tracker about sources, nor a source about partitions of the session events.
        store.apply(b"tracker-a", Some(&source)).unwrap();
        store.apply(b"ingest/a", Some(&tracker)).unwrap();
        let upstream = store.upstream("logs", ROUTING, b"tracker-a");
        assert_eq!(upstream, Upstream::default());
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let value = br#"{"v":1,"more":[1],"watermarks":[{"topic":"t","partition":3,"until":5,"x":{}}],"routing":null}"#;
        let expected = record(None, "t", &[(3, 5)]);
        assert_eq!(WatermarkRecord::decode(value), Ok(expected));
    }

    proptest! {
        #[test]
        fn encoded_records_can_be_decoded(
            topic in ".{0,20}",
            watermarks in prop::collection::vec((any::<i32>(), any::<i64>()), 0..5),
            routing in prop::option::of(Just(ROUTING)),
        ) {
            let record = record(routing, &topic, &watermarks);
            prop_assert_eq!(WatermarkRecord::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn no_bytes_panic(key: Vec<u8>, value: Vec<u8>, text in "[\\[\\]{}:\",0-9a-z]{0,60}") {
            let mut store = WatermarkStore::default();
            for prefix in [&b""[..], b"tracker-", b"ingest/"] {
                let key = [prefix, &key].concat();
                let _applied_or_refused = store.apply(&key, Some(&value));
                let _applied_or_refused = store.apply(&key, Some(text.as_bytes()));
            }
            let _upstream = store.upstream("logs", ROUTING, b"own");
        }
    }
}
