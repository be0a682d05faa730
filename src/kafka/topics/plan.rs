//! What has to be done so that topics are as they should be.

use std::fmt;

use super::catalogue::{Setting, TopicSpec};
use super::state::ExistingTopics;
use super::state::TopicState;

/// What is to be done about one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The topic as it should be.
    pub spec: TopicSpec,
    /// What that takes.
    pub action: Action,
}

/// What it takes for a topic to be as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is not there: create it.
    Create,
    /// It is as it should be.
    Keep,
    /// It is there, but not as it should be. Changing it is for its owner: Kafka cannot
    /// take partitions back, and more of them send keys elsewhere.
    Differs(Vec<Difference>),
}

/// One way in which a topic is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `partitions`, `replication` or the property's name.
    pub what: String,
    /// How it is.
    pub actual: String,
    /// How it should be.
    pub wanted: String,
}

/// `retention.ms is 1000, should be at least 86400000`
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            actual,
            wanted,
        } = self;
        write!(f, "{what} is {actual}, should be {wanted}")
    }
}

/// What has to be done so that `existing` topics become as the catalogue wants them.
/// `replication` is the number of replicas asked for; without it, any will do.
#[must_use]
pub fn plan(
    catalogue: Vec<TopicSpec>,
    existing: &ExistingTopics,
    replication: Option<i32>,
) -> Vec<Step> {
    let step = |spec: TopicSpec| {
        let action = match existing.get(&spec.name) {
            None => Action::Create,
            Some(state) => match differences(&spec, state, replication) {
                list if list.is_empty() => Action::Keep,
                list => Action::Differs(list),
            },
        };
        Step { spec, action }
    };
    catalogue.into_iter().map(step).collect()
}

fn differences(spec: &TopicSpec, state: &TopicState, replication: Option<i32>) -> Vec<Difference> {
    let partitions = difference(
        "partitions",
        state.partition_count().to_string(),
        spec.partitions.to_string(),
    );
    let replication = replication.and_then(|wanted| {
        difference(
            "replication",
            state.replication().to_string(),
            wanted.to_string(),
        )
    });
    let configs = spec.configs.iter().filter_map(|config| {
        let actual = state.config(config.key)?;
        let wanted = violated(config.setting, actual)?;
        difference(config.key, actual.to_owned(), wanted)
    });
    partitions
        .into_iter()
        .chain(replication)
        .chain(configs)
        .collect()
}

fn difference(what: &str, actual: String, wanted: String) -> Option<Difference> {
    (actual != wanted).then(|| Difference {
        what: what.to_owned(),
        actual,
        wanted,
    })
}

/// What the setting asks for, if `actual` is not it.
fn violated(setting: Setting, actual: &str) -> Option<String> {
    match setting {
        Setting::Exactly(wanted) => (!same_list(actual, wanted)).then(|| wanted.to_owned()),
        Setting::AtLeast { least, .. } => {
            let enough = actual
                .parse::<i64>()
                .is_ok_and(|actual| actual == -1 || actual >= least);
            (!enough).then(|| format!("at least {least}"))
        }
        Setting::Usually(_) => None,
    }
}

/// Kafka keeps lists in the order in which they were written.
fn same_list(actual: &str, wanted: &str) -> bool {
    let sorted = |list: &str| {
        let mut items: Vec<_> = list.split(',').map(|item| item.trim().to_owned()).collect();
        items.sort_unstable();
        items
    };
    sorted(actual) == sorted(wanted)
}
