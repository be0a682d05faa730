//! The sources of an installation.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::mapping::Mapping;

/// Mappings by topic; a topic has one source.
#[derive(Clone, Debug, Default)]
pub struct SourceSet {
    topics: BTreeMap<String, Arc<Mapping>>,
}

/// Two sources read one topic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "topic {topic} is in the sources '{first}' and '{second}': leave it to one of them and distinguish its records with spec.when"
)]
pub struct SharedTopic {
    topic: String,
    first: String,
    second: String,
}

impl SourceSet {
    /// Collects sources.
    ///
    /// # Errors
    /// [`SharedTopic`] if two of them read the same topic.
    pub fn new(mappings: impl IntoIterator<Item = Arc<Mapping>>) -> Result<Self, SharedTopic> {
        let mut topics: BTreeMap<String, Arc<Mapping>> = BTreeMap::new();
        for mapping in mappings {
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
        Ok(Self { topics })
    }

    /// The mapping of each topic.
    #[must_use]
    pub fn topics(&self) -> &BTreeMap<String, Arc<Mapping>> {
        &self.topics
    }
}
