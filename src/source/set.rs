//! The sources of an installation.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::mapping::Mapping;
use crate::kafka::Topics;

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
