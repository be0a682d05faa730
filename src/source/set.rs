//! The sources of an installation.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::mapping::Mapping;
use crate::kafka::Topics;

/// Prefix of topics that Kafka and its tools keep for themselves.
const INTERNAL: &str = "__";

/// Mappings by topic; a topic has one source.
#[derive(Clone, Debug, Default)]
pub struct SourceSet {
    topics: BTreeMap<String, Arc<Mapping>>,
    /// Those with a pattern, by name.
    patterns: Vec<Arc<Mapping>>,
}

/// Two sources read one topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "topic {topic} is in the sources '{first}' and '{second}': leave it to one of them and distinguish its records with spec.when"
)]
pub struct SharedTopic {
    pub topic: String,
    pub first: String,
    pub second: String,
}

/// A source reads what Sundown writes, and would never end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("topic {0} belongs to this installation and cannot be a source")]
pub struct OwnTopic(String);

/// Checks that none of these topics is one of the installation's own.
///
/// # Errors
/// [`OwnTopic`], with the first that is.
pub fn check_topics<'a>(
    topics: impl IntoIterator<Item = &'a String>,
    own: &Topics,
) -> Result<(), OwnTopic> {
    let own = own.all();
    let mut topics = topics.into_iter();
    let found = topics.find(|topic| own.contains(&topic.as_str()));
    found.map_or(Ok(()), |topic| Err(OwnTopic(topic.clone())))
}

impl SourceSet {
    /// Collects sources.
    ///
    /// # Errors
    /// [`SharedTopic`] if two of them read the same topic.
    pub fn new(mappings: impl IntoIterator<Item = Arc<Mapping>>) -> Result<Self, SharedTopic> {
        let mut topics: BTreeMap<String, Arc<Mapping>> = BTreeMap::new();
        let mut patterns = Vec::new();
        for mapping in mappings {
            if mapping.has_pattern() {
                patterns.push(Arc::clone(&mapping));
            }
            for topic in mapping.topics() {
                let earlier = topics.insert(topic.clone(), Arc::clone(&mapping));
                if let Some(earlier) = earlier {
                    return Err(SharedTopic {
                        topic: topic.clone(),
                        first: earlier.name().to_owned(),
                        second: mapping.name().to_owned(),
                    });
                }
            }
        }
        patterns.sort_by(|one, other| one.name().cmp(other.name()));
        Ok(Self { topics, patterns })
    }

    /// The mapping of each topic that a source names.
    #[must_use]
    pub fn topics(&self) -> &BTreeMap<String, Arc<Mapping>> {
        &self.topics
    }

    /// The mappings that find their topics by a pattern.
    #[must_use]
    pub fn patterns(&self) -> &[Arc<Mapping>] {
        &self.patterns
    }

    /// Whether there is no source.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.patterns.is_empty()
    }

    /// The topics among `existing` that patterns match, each with the first source by name. The
    /// installation's `own` topics and internal ones are never sources.
    #[must_use]
    pub fn matched<'a>(
        &self,
        existing: impl IntoIterator<Item = &'a String>,
        own: &Topics,
    ) -> BTreeMap<String, Arc<Mapping>> {
        let own = own.all();
        let candidates = existing.into_iter().filter(|topic| {
            !topic.starts_with(INTERNAL)
                && !own.contains(&topic.as_str())
                && !self.topics.contains_key(*topic)
        });
        let matched = candidates.filter_map(|topic| {
            let mapping = self.patterns.iter().find(|mapping| mapping.reads(topic))?;
            Some((topic.clone(), Arc::clone(mapping)))
        });
        matched.collect()
    }
}
