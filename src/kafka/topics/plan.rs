//! Compares existing topics with their specification.

use std::fmt;

use super::catalogue::{Setting, TopicSpec};
use super::state::ExistingTopics;
use super::state::TopicState;

/// What a topic needs to match its specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTopic {
    pub spec: TopicSpec,
    pub action: TopicAction,
}

/// What to do with a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicAction {
    /// Create the topic, which does not exist.
    Create,
    /// Keep the topic, which matches its specification.
    Keep,
    /// Leave the topic to its owner.
    Differs(Vec<TopicDifference>),
}

/// A property of a topic that does not match the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDifference {
    /// `partitions`, `replication` or the name of a property.
    pub property: String,
    pub actual: String,
    pub expected: String,
}

/// `retention.ms is 1000, should be at least 86400000`
impl fmt::Display for TopicDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            property,
            actual,
            expected,
        } = self;
        write!(f, "{property} is {actual}, should be {expected}")
    }
}

/// What `existing` topics need to match the catalogue. Any number of replicas matches unless
/// `replication` is set.
#[must_use]
pub fn plan(
    catalogue: Vec<TopicSpec>,
    existing: &ExistingTopics,
    replication: Option<i32>,
) -> Vec<PlannedTopic> {
    let planned = |spec: TopicSpec| {
        let action = match existing.get(&spec.name) {
            None => TopicAction::Create,
            Some(state) => match differences(&spec, state, replication) {
                list if list.is_empty() => TopicAction::Keep,
                list => TopicAction::Differs(list),
            },
        };
        PlannedTopic { spec, action }
    };
    catalogue.into_iter().map(planned).collect()
}

fn differences(
    spec: &TopicSpec,
    state: &TopicState,
    replication: Option<i32>,
) -> Vec<TopicDifference> {
    let partitions = difference(
        "partitions",
        state.partition_count().to_string(),
        spec.partitions.to_string(),
    );
    let replication = replication.and_then(|expected| {
        difference(
            "replication",
            state.replication().to_string(),
            expected.to_string(),
        )
    });
    let configs = spec.configs.iter().filter_map(|config| {
        let actual = state.config(config.key)?;
        let expected = violated(config.setting, actual)?;
        difference(config.key, actual.to_owned(), expected)
    });
    partitions
        .into_iter()
        .chain(replication)
        .chain(configs)
        .collect()
}

fn difference(property: &str, actual: String, expected: String) -> Option<TopicDifference> {
    (actual != expected).then(|| TopicDifference {
        property: property.to_owned(),
        actual,
        expected,
    })
}

/// What the setting requires, if `actual` violates it.
fn violated(setting: Setting, actual: &str) -> Option<String> {
    match setting {
        Setting::Exactly(value) => (!same_list(actual, value)).then(|| value.to_owned()),
        Setting::AtLeast { least, .. } => {
            let enough = actual
                .parse::<i64>()
                .is_ok_and(|actual| actual == -1 || actual >= least);
            (!enough).then(|| format!("at least {least}"))
        }
        Setting::Default(_) => None,
    }
}

/// Compares lists regardless of their order, which Kafka preserves.
fn same_list(actual: &str, expected: &str) -> bool {
    let sorted = |list: &str| {
        let mut items: Vec<_> = list.split(',').map(|item| item.trim().to_owned()).collect();
        items.sort_unstable();
        items
    };
    sorted(actual) == sorted(expected)
}
