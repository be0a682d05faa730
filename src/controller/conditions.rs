//! The third stage, pure: the conditions of resources, and the status of each policy.

use super::rollout::Rollout;
use super::validate::{Ambiguity, Rejection};
use crate::policy::crd::status::{Condition, ConditionStatus, ConditionType};
use crate::policy::document::SessionPolicyStatus;

/// What the conditions of a policy or a source are derived from.
#[derive(Debug)]
pub struct PublicationInput<'a> {
    /// The generation in the API server.
    pub generation: i64,
    /// Why the resource is not published.
    pub rejection: Option<&'a Rejection>,
    /// The active generation.
    pub active_generation: Option<u64>,
    /// Whether the record of the resource matches the API server.
    pub published: bool,
    /// The problem with Kafka.
    pub kafka_error: Option<&'a str>,
    pub rollout: &'a Rollout,
    pub readers: &'static Readers,
}

/// The processes that read the published resources.
#[derive(Debug)]
pub struct Readers {
    /// As in `tracker`.
    pub singular: &'static str,
    /// As in `trackers`.
    pub plural: &'static str,
    /// The reason of `Distributed` while there is none.
    pub none: &'static str,
    /// The reason of `Distributed` once all have the generation.
    pub all: &'static str,
}

/// The readers of policies.
pub static TRACKERS: Readers = Readers {
    singular: "tracker",
    plural: "trackers",
    none: "NoTrackers",
    all: "AllTrackers",
};

/// What the status of a policy is derived from.
#[derive(Debug)]
pub struct PolicyStatusInput<'a> {
    pub publication: PublicationInput<'a>,
    pub ambiguity: &'a Ambiguity,
}

/// A condition without its transition time.
pub struct UndatedCondition {
    kind: ConditionType,
    status: ConditionStatus,
    reason: &'static str,
    message: String,
}

impl UndatedCondition {
    pub(super) fn new(
        kind: ConditionType,
        (status, reason, message): (ConditionStatus, &'static str, String),
    ) -> Self {
        Self {
            kind,
            status,
            reason,
            message,
        }
    }
}

/// `Ready` and `Distributed`.
#[must_use]
pub fn publication(input: &PublicationInput<'_>) -> [UndatedCondition; 2] {
    [
        UndatedCondition::new(ConditionType::Ready, ready(input)),
        UndatedCondition::new(ConditionType::Distributed, distributed(input)),
    ]
}

/// Dates the conditions of a generation. Those whose status is unchanged since `previous` keep
/// their transition time; the others get `now`, RFC 3339.
#[must_use]
pub fn dated(
    conditions: impl IntoIterator<Item = UndatedCondition>,
    generation: i64,
    previous: &[Condition],
    now: &str,
) -> Vec<Condition> {
    let dated = conditions.into_iter().map(|condition| {
        let mut known = previous.iter();
        let known = known.find(|known| known.kind == condition.kind);
        let unchanged = known.filter(|known| known.status == condition.status);
        let since = unchanged.map_or(now, |known| &known.last_transition_time);
        Condition {
            kind: condition.kind,
            status: condition.status,
            observed_generation: Some(generation),
            last_transition_time: since.to_owned(),
            reason: condition.reason.to_owned(),
            message: condition.message,
        }
    });
    dated.collect()
}

/// Derives the status of a policy. Conditions whose status is unchanged since `previous` keep
/// their transition time; the others get `now`, RFC 3339.
#[must_use]
pub fn status(
    input: &PolicyStatusInput<'_>,
    previous: &SessionPolicyStatus,
    now: &str,
) -> SessionPolicyStatus {
    let ambiguous = UndatedCondition::new(ConditionType::Ambiguous, ambiguous(input.ambiguity));
    let input = &input.publication;
    let conditions = publication(input).into_iter().chain([ambiguous]);
    // The numbers are unknown while process reports cannot be read.
    let numbers_known = input.kafka_error.is_none();
    let rollout = input.rollout;
    SessionPolicyStatus {
        observed_generation: Some(input.generation),
        conditions: dated(conditions, input.generation, &previous.conditions, now),
        trackers: if numbers_known {
            Some(format!("{}/{}", rollout.applied, rollout.processes))
        } else {
            previous.trackers.clone()
        },
        sessions: if numbers_known {
            u64::try_from(rollout.sessions).ok()
        } else {
            previous.sessions
        },
    }
}

pub(super) type Evaluation = (ConditionStatus, &'static str, String);

fn ready(input: &PublicationInput<'_>) -> Evaluation {
    use ConditionStatus::{False, True, Unknown};
    let active = match input.active_generation {
        Some(generation) => format!("generation {generation} stays active"),
        None => "no earlier generation is active".to_owned(),
    };
    let generation = input.generation;
    match (input.rejection, input.kafka_error) {
        (Some(Rejection { reason, problem }), _) => (False, reason, format!("{problem}; {active}")),
        (None, _) if input.published => {
            let readers = input.readers.plural;
            let message = format!("generation {generation} is published to the {readers}");
            (True, "Published", message)
        }
        (None, Some(error)) => {
            let status = if input.active_generation.is_some() {
                False
            } else {
                Unknown
            };
            (status, "KafkaUnavailable", format!("{error}; retrying"))
        }
        (None, None) => {
            let message = format!("generation {generation} is being published");
            (False, "Publishing", message)
        }
    }
}

fn distributed(input: &PublicationInput<'_>) -> Evaluation {
    use ConditionStatus::{False, True, Unknown};
    let Rollout {
        processes,
        applied,
        waiting_for,
        ..
    } = input.rollout;
    let generation = input.generation;
    let Readers {
        singular,
        plural,
        none,
        all,
    } = input.readers;
    match (input.kafka_error, waiting_for) {
        (Some(error), _) => {
            let message = format!("the generations of the {plural} are unknown: {error}");
            (Unknown, "KafkaUnavailable", message)
        }
        (None, _) if *processes == 0 => (
            Unknown,
            none,
            format!("no {singular} has reported recently: start one, or check its log"),
        ),
        (None, Some(waiting_for)) => {
            let message = format!(
                "{applied} of {processes} live {plural} run generation {generation}; {waiting_for} does not"
            );
            (False, "Waiting", message)
        }
        (None, None) => {
            let message = format!("all live {plural} run generation {generation}");
            (True, all, message)
        }
    }
}

fn ambiguous(ambiguity: &Ambiguity) -> Evaluation {
    use ConditionStatus::{False, True, Unknown};
    /// The most names in a message.
    const MAX_NAMES: usize = 5;
    match ambiguity {
        Ambiguity::None => (
            False,
            "Distinct",
            "no other policy of this priority can match the same sessions".to_owned(),
        ),
        Ambiguity::With(others) => {
            let names = others.iter().take(MAX_NAMES).map(String::as_str);
            let names = names.collect::<Vec<_>>().join(", ");
            let more = others.len().saturating_sub(MAX_NAMES);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let message = format!(
                "{names}{more} can match the same sessions at the same priority; the first by name wins: give them different priorities"
            );
            (True, "EqualPriority", message)
        }
        Ambiguity::Undetermined => (
            Unknown,
            "TooManyGlobs",
            "the policies of this priority have too many globs to compare: give this policy a priority of its own".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::resource_kind::ResourceStatus;

    fn input(rollout: &Rollout) -> PolicyStatusInput<'_> {
        PolicyStatusInput {
            publication: publication(rollout),
            ambiguity: &Ambiguity::None,
        }
    }

    fn publication(rollout: &Rollout) -> PublicationInput<'_> {
        PublicationInput {
            generation: 3,
            rejection: None,
            active_generation: Some(3),
            published: true,
            kafka_error: None,
            rollout,
            readers: &TRACKERS,
        }
    }

    fn summary(status: &SessionPolicyStatus) -> String {
        let conditions = status.conditions.iter();
        let summaries: Vec<_> = conditions
            .map(|condition| format!("{:?} {}", condition.status, condition.reason))
            .collect();
        summaries.join(", ")
    }

    fn rollout(applied: usize, processes: usize) -> Rollout {
        let waiting_for = (applied < processes).then(|| "tracker-b".to_owned());
        Rollout {
            processes,
            applied,
            sessions: 7,
            waiting_for,
        }
    }

    #[test]
    fn each_state_has_its_conditions() {
        let (none, some, all) = (rollout(0, 0), rollout(1, 2), rollout(2, 2));
        let invalid = Rejection::invalid("spec.idleTimeout: is wrong".to_owned());
        let both = Ambiguity::With(vec!["ns/b".to_owned()]);
        let cases = [
            (
                input(&all),
                "True Published, True AllTrackers, False Distinct",
            ),
            (
                input(&some),
                "True Published, False Waiting, False Distinct",
            ),
            (
                input(&none),
                "True Published, Unknown NoTrackers, False Distinct",
            ),
            (
                PolicyStatusInput {
                    publication: PublicationInput {
                        published: false,
                        kafka_error: Some("down"),
                        ..publication(&all)
                    },
                    ..input(&all)
                },
                "False KafkaUnavailable, Unknown KafkaUnavailable, False Distinct",
            ),
            (
                PolicyStatusInput {
                    publication: PublicationInput {
                        kafka_error: Some("down"),
                        ..publication(&all)
                    },
                    ..input(&all)
                },
                "True Published, Unknown KafkaUnavailable, False Distinct",
            ),
            (
                PolicyStatusInput {
                    publication: PublicationInput {
                        rejection: Some(&invalid),
                        active_generation: Some(2),
                        published: false,
                        ..publication(&some)
                    },
                    ambiguity: &both,
                },
                "False Invalid, False Waiting, True EqualPriority",
            ),
        ];
        for (input, expected) in cases {
            let status = status(&input, &SessionPolicyStatus::default(), "now");
            assert_eq!(summary(&status), expected);
            if input.publication.rejection.is_some() {
                assert!(
                    status.conditions[0]
                        .message
                        .contains("generation 2 stays active")
                );
            }
        }
    }

    #[test]
    fn a_condition_keeps_its_transition_time() {
        let (some, all) = (rollout(1, 2), rollout(2, 2));
        let first = status(&input(&some), &SessionPolicyStatus::default(), "then");
        let second = status(&input(&all), &first, "now");
        let times: Vec<_> = second
            .conditions
            .iter()
            .map(|c| c.last_transition_time.as_str())
            .collect();
        assert_eq!(times, ["then", "now", "then"]);
        assert_eq!(second.trackers.as_deref(), Some("2/2"));
        let fewer = Rollout {
            sessions: 6,
            ..rollout(2, 2)
        };
        let third = status(&input(&fewer), &second, "later");
        assert_ne!(third, second);
        assert_eq!(third.without_counts(), second.without_counts());
        assert_ne!(second.without_counts(), first.without_counts());
    }
}
