//! Sources in the policy topic.
//!
//! The key of a source's record is `source:` and its full name, the value its document as JSON; a
//! tombstone deletes the source. Trackers and handlers pass over these records.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::document::{SessionSource, SourceError};
use super::mapping::Mapping;
use super::set::{SharedTopic, SourceSet};
use crate::health::{HELPER_TIMEOUT, Health, Heartbeat};
use crate::kafka::args::GlobalArgs;
use crate::kafka::topic_feed::{TopicEvent, TopicFeed, TopicRecord};
use crate::policy::pauses::SOURCE_PREFIX;
use crate::policy::topic::PolicyTopic;

/// The most sources of an installation.
pub const MAX_SOURCES: usize = 1_000;

/// Why the record of a source changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum SourceRecordError {
    /// The value is not the JSON of a session source.
    #[error("source '{name}': {source}; apply the source again")]
    Malformed {
        name: String,
        source: serde_json::Error,
    },
    /// The document is invalid.
    #[error("{0}; correct it and apply it again")]
    Invalid(#[from] SourceError),
    /// The document has another name than the record.
    #[error("the record with the key '{key}' holds the source '{name}': apply both again")]
    Misnamed { key: String, name: String },
    /// There are too many sources.
    #[error("source '{0}': there are {MAX_SOURCES} sources already: delete some")]
    TooMany(String),
}

/// The sources that the records applied so far define. The last valid record of a source counts.
#[derive(Clone, Debug, Default)]
pub struct SourceStore(BTreeMap<String, ActiveSource>);

#[derive(Clone, Debug)]
struct ActiveSource {
    document: SessionSource,
    mapping: Arc<Mapping>,
}

/// Returns the key of a source's record.
#[must_use]
pub fn key(name: &str) -> String {
    format!("{SOURCE_PREFIX}{name}")
}

impl SourceStore {
    /// Applies a record of the policy topic; returns whether it changes the sources.
    ///
    /// # Errors
    /// If it is the record of a source and cannot be used; then it changes nothing.
    pub fn apply(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<bool, SourceRecordError> {
        let name = key.and_then(|key| str::from_utf8(key).ok());
        let Some(name) = name.and_then(|key| key.strip_prefix(SOURCE_PREFIX)) else {
            return Ok(false);
        };
        let Some(value) = value else {
            return Ok(self.0.remove(name).is_some());
        };
        let malformed = |source| SourceRecordError::Malformed {
            name: name.to_owned(),
            source,
        };
        let document: SessionSource = serde_json::from_slice(value).map_err(malformed)?;
        if document.full_name() != name {
            return Err(SourceRecordError::Misnamed {
                key: name.to_owned(),
                name: document.full_name(),
            });
        }
        match self.0.get(name) {
            Some(active) if active.document == document => return Ok(false),
            None if self.0.len() >= MAX_SOURCES => {
                return Err(SourceRecordError::TooMany(name.to_owned()));
            }
            Some(_) | None => {}
        }
        let mapping = Arc::new(Mapping::compile(&document)?);
        let active = ActiveSource { document, mapping };
        self.0.insert(name.to_owned(), active);
        Ok(true)
    }

    /// The documents, by full name.
    pub fn documents(&self) -> impl ExactSizeIterator<Item = (&str, &SessionSource)> {
        let sources = self.0.iter();
        sources.map(|(name, active)| (name.as_str(), &active.document))
    }

    /// The compiled sources.
    pub fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.0.values().map(|active| &*active.mapping)
    }

    /// The document of the source with this full name.
    #[must_use]
    pub fn document(&self, name: &str) -> Option<&SessionSource> {
        self.0.get(name).map(|active| &active.document)
    }

    /// The mapping of each topic.
    ///
    /// # Errors
    /// If two sources read the same topic.
    pub fn set(&self) -> Result<SourceSet, SharedTopic> {
        SourceSet::new(self.0.values().map(|active| Arc::clone(&active.mapping)))
    }
}

/// The sources in the policy topic, for commands.
pub struct PublishedSources(PolicyTopic);

impl PublishedSources {
    /// Connects when it is first used.
    ///
    /// # Errors
    /// If the connection flags contradict each other.
    pub fn new(global: &GlobalArgs) -> anyhow::Result<Self> {
        PolicyTopic::new(global).map(Self)
    }

    /// Reads the topic to its end, and calls `on_rejected` with a description of each source that
    /// cannot be used.
    ///
    /// # Errors
    /// If the topic does not exist or cannot be read.
    pub async fn read(&self, mut on_rejected: impl FnMut(String)) -> anyhow::Result<SourceStore> {
        let mut store = SourceStore::default();
        self.0
            .read_records(|record| {
                if let Err(rejection) = apply(&mut store, record) {
                    on_rejected(self.0.rejected(record, &rejection));
                }
            })
            .await?;
        Ok(store)
    }

    /// Writes sources in this order, each under its full name; `None` deletes a source.
    ///
    /// # Errors
    /// If a record is not acknowledged. Those before it have been written.
    pub async fn write(
        &self,
        sources: impl IntoIterator<Item = (&str, Option<&SessionSource>)>,
    ) -> anyhow::Result<()> {
        let records = sources.into_iter().map(|(name, document)| {
            // Strings, numbers and maps of strings always serialize.
            let encode = |document| serde_json::to_string(document).unwrap_or_default();
            (key(name), document.map(encode))
        });
        self.0.write_records(records).await
    }
}

fn apply(store: &mut SourceStore, record: &TopicRecord) -> Result<bool, SourceRecordError> {
    store.apply(record.key.as_deref(), record.value.as_deref())
}

/// Reads `topic` on a thread until `stop`, and calls `on_change` with the sources on that thread:
/// once the topic has been read to its end, then after each change.
///
/// # Errors
/// If librdkafka rejects the configuration, or the thread cannot be started.
pub fn watch(
    config: &ClientConfig,
    topic: &str,
    health: &Health,
    stop: CancellationToken,
    on_change: impl Fn(&SourceStore) + Send + 'static,
) -> anyhow::Result<()> {
    let mut feed = TopicFeed::open(config, topic, stop)?;
    let watch = move |heartbeat: Heartbeat| {
        let (mut store, mut caught_up) = (SourceStore::default(), false);
        let mut events = Vec::new();
        while feed.read(&mut events) {
            heartbeat.beat();
            let mut changed = false;
            for event in events.drain(..) {
                match event {
                    TopicEvent::CaughtUp => (caught_up, changed) = (true, true),
                    TopicEvent::Record(record) => changed |= apply_or_log(&mut store, &record),
                }
            }
            if caught_up && changed {
                on_change(&store);
            }
        }
    };
    health.spawn(&format!("reader of {topic}"), HELPER_TIMEOUT, watch)?;
    Ok(())
}

fn apply_or_log(store: &mut SourceStore, record: &TopicRecord) -> bool {
    apply(store, record).unwrap_or_else(|error| {
        let offset = record.offset;
        tracing::error!(%error, offset, "rejected the record of a source; the active source is unchanged");
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str, topic: &str) -> String {
        format!(
            r#"{{"apiVersion": "sundown.dev/v1alpha1", "kind": "SessionSource", "metadata": {{"name": "{name}"}},
                "spec": {{"topics": ["{topic}"], "session": {{"id": "value.id", "user": "value.user"}}}}}}"#
        )
    }

    fn apply(store: &mut SourceStore, name: &str, value: Option<&str>) -> Result<bool, String> {
        let applied = store.apply(Some(key(name).as_bytes()), value.map(str::as_bytes));
        applied.map_err(|error| error.to_string())
    }

    #[test]
    fn the_last_valid_record_of_a_source_counts() {
        let mut store = SourceStore::default();
        assert_eq!(apply(&mut store, "a", Some(&value("a", "t"))), Ok(true));
        assert_eq!(apply(&mut store, "a", Some(&value("a", "t"))), Ok(false));
        let typo = value("a", "t").replace("value.user", "vlaue.user");
        let error = apply(&mut store, "a", Some(&typo)).unwrap_err();
        assert!(error.contains("did you mean value?"), "{error}");
        assert!(apply(&mut store, "b", Some(&value("a", "t"))).is_err());
        assert!(apply(&mut store, "b", Some("[]")).is_err());
        assert_eq!(store.documents().len(), 1);
        assert_eq!(apply(&mut store, "a", None), Ok(true));
        assert_eq!(apply(&mut store, "a", None), Ok(false));
    }

    #[test]
    fn a_topic_has_one_source() {
        let mut store = SourceStore::default();
        assert_eq!(apply(&mut store, "a", Some(&value("a", "t"))), Ok(true));
        assert_eq!(apply(&mut store, "b", Some(&value("b", "t"))), Ok(true));
        assert!(store.set().is_err());
        assert_eq!(apply(&mut store, "b", Some(&value("b", "u"))), Ok(true));
        assert_eq!(store.set().unwrap().topics().len(), 2);
    }

    #[test]
    fn other_records_are_passed_over() {
        let mut store = SourceStore::default();
        for key in [
            None,
            Some(&b"shop/mobile"[..]),
            Some(b"control:pause:tracker:1"),
        ] {
            assert!(!store.apply(key, Some(b"{}")).unwrap());
        }
    }
}
