//! The third stage, pure: what to say about each policy.

use std::time::Duration;

use super::rollout::Rollout;
use super::validate::{Ambiguity, Rejection};
use crate::policy::crd::status::{Condition, ConditionStatus, ConditionType};
use crate::policy::document::SessionPolicyStatus;

/// What a policy's status is made of.
#[derive(Debug)]
pub struct PolicyState<'a> {
    /// Of which generation.
    pub generation: i64,
    /// Why it is not published, if it is not to be.
    pub refusal: Option<&'a Rejection>,
    /// The generation of its record in the topic, if it has one.
    pub published: Option<u64>,
    /// Whether that record is all that it should be.
    pub up_to_date: bool,
    /// What is wrong with Kafka.
    pub kafka: Option<&'a str>,
    /// How far it has come among the trackers.
    pub spread: &'a Rollout,
    /// Whether others compete with it.
    pub ambiguity: &'a Ambiguity,
}

/// A condition without its time.
struct Verdict(ConditionType, ConditionStatus, &'static str, String);

/// The status that says so. Conditions that were so `before` keep their time; those that
/// were not get `now`, RFC 3339.
#[must_use]
pub fn status(
    findings: &PolicyState<'_>,
    before: &SessionPolicyStatus,
    now: &str,
) -> SessionPolicyStatus {
    let verdicts = [ready(findings), distributed(findings), ambiguous(findings)];
    let conditions = verdicts.map(|Verdict(kind, status, reason, message)| {
        let known = before.conditions.iter().find(|known| known.kind == kind);
        let since = known.filter(|known| known.status == status);
        Condition {
            kind,
            status,
            observed_generation: Some(findings.generation),
            last_transition_time: since
                .map_or(now, |known| &known.last_transition_time)
                .to_owned(),
            reason: reason.to_owned(),
            message,
        }
    });
    // While no reports can be read, the numbers would be those of nobody.
    let numbers = findings.kafka.is_none();
    let spread = findings.spread;
    SessionPolicyStatus {
        observed_generation: Some(findings.generation),
        conditions: conditions.into(),
        trackers: if numbers {
            Some(format!("{}/{}", spread.applied, spread.trackers))
        } else {
            before.trackers.clone()
        },
        sessions: if numbers {
            u64::try_from(spread.sessions).ok()
        } else {
            before.sessions
        },
    }
}

fn ready(findings: &PolicyState<'_>) -> Verdict {
    use ConditionStatus::{False, True, Unknown};
    let verdict = |status, reason, message| Verdict(ConditionType::Ready, status, reason, message);
    let in_force = match findings.published {
        Some(generation) => format!("generation {generation} stays in force"),
        None => "no earlier generation is in force".to_owned(),
    };
    match (findings.refusal, findings.kafka) {
        (Some(Rejection::Invalid(problem)), _) => {
            verdict(False, "Invalid", format!("{problem}; {in_force}"))
        }
        (Some(Rejection::TooMany(problem)), _) => {
            verdict(False, "TooManyPolicies", format!("{problem}; {in_force}"))
        }
        (None, _) if findings.up_to_date => {
            let message = format!(
                "generation {} is published to the trackers",
                findings.generation
            );
            verdict(True, "Published", message)
        }
        (None, Some(trouble)) => {
            let status = if findings.published.is_some() {
                False
            } else {
                Unknown
            };
            verdict(
                status,
                "KafkaUnavailable",
                format!("{trouble}; it is tried again"),
            )
        }
        (None, None) => verdict(False, "Publishing", "it is being published".to_owned()),
    }
}

fn distributed(findings: &PolicyState<'_>) -> Verdict {
    use ConditionStatus::{False, True, Unknown};
    let verdict =
        |status, reason, message| Verdict(ConditionType::Distributed, status, reason, message);
    let Rollout {
        trackers,
        applied,
        waiting_for,
        ..
    } = findings.spread;
    let generation = findings.generation;
    match (findings.kafka, waiting_for) {
        (Some(trouble), _) => verdict(
            Unknown,
            "KafkaUnavailable",
            format!("what trackers run cannot be told: {trouble}"),
        ),
        (None, _) if *trackers == 0 => verdict(
            Unknown,
            "NoTrackers",
            "no tracker has reported lately: start one, or see its log".to_owned(),
        ),
        (None, Some(waiting_for)) => {
            let message = format!(
                "{applied} of {trackers} live trackers run generation {generation}; {waiting_for} does not"
            );
            verdict(False, "Waiting", message)
        }
        (None, None) => verdict(
            True,
            "AllTrackers",
            format!("all live trackers run generation {generation}"),
        ),
    }
}

fn ambiguous(findings: &PolicyState<'_>) -> Verdict {
    use ConditionStatus::{False, True, Unknown};
    /// The most names that a message gives.
    const NAMED: usize = 5;
    let verdict =
        |status, reason, message| Verdict(ConditionType::Ambiguous, status, reason, message);
    match findings.ambiguity {
        Ambiguity::None => verdict(False, "Distinct", "no other policy of this priority can match the same sessions".to_owned()),
        Ambiguity::With(others) => {
            let named = others.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = others.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let message = format!("{named}{more} can match the same sessions at the same priority, and the first in the order of names wins: give them different priorities");
            verdict(True, "EqualPriority", message)
        }
        Ambiguity::Undetermined => verdict(Unknown, "TooManyGlobs", "the policies of this priority have too many globs to compare: give it a priority of its own".to_owned()),
    }
}

/// Whether two statuses differ in more than how many sessions there are.
#[must_use]
pub fn differ_in_more_than_sessions(a: &SessionPolicyStatus, b: &SessionPolicyStatus) -> bool {
    let without = |status: &SessionPolicyStatus| SessionPolicyStatus {
        sessions: None,
        ..status.clone()
    };
    without(a) != without(b)
}

/// How often a status is written of which only the number of sessions has changed.
pub const SESSIONS_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(spread: &Rollout) -> PolicyState<'_> {
        PolicyState {
            generation: 3,
            refusal: None,
            published: Some(3),
            up_to_date: true,
            kafka: None,
            spread,
            ambiguity: &Ambiguity::None,
        }
    }

    fn told(status: &SessionPolicyStatus) -> String {
        let conditions = status.conditions.iter();
        let told: Vec<_> = conditions
            .map(|condition| format!("{:?} {}", condition.status, condition.reason))
            .collect();
        told.join(", ")
    }

    fn spread(applied: usize, trackers: usize) -> Rollout {
        let waiting_for = (applied < trackers).then(|| "tracker-b".to_owned());
        Rollout {
            trackers,
            applied,
            sessions: 7,
            waiting_for,
        }
    }

    #[test]
    fn each_state_has_its_conditions() {
        let (none, some, all) = (spread(0, 0), spread(1, 2), spread(2, 2));
        let invalid = Rejection::Invalid("spec.idleTimeout: is wrong".to_owned());
        let both = Ambiguity::With(vec!["ns/b".to_owned()]);
        let cases = [
            (
                findings(&all),
                "True Published, True AllTrackers, False Distinct",
            ),
            (
                findings(&some),
                "True Published, False Waiting, False Distinct",
            ),
            (
                findings(&none),
                "True Published, Unknown NoTrackers, False Distinct",
            ),
            (
                PolicyState {
                    up_to_date: false,
                    kafka: Some("down"),
                    ..findings(&all)
                },
                "False KafkaUnavailable, Unknown KafkaUnavailable, False Distinct",
            ),
            (
                PolicyState {
                    kafka: Some("down"),
                    ..findings(&all)
                },
                "True Published, Unknown KafkaUnavailable, False Distinct",
            ),
            (
                PolicyState {
                    refusal: Some(&invalid),
                    published: Some(2),
                    up_to_date: false,
                    ambiguity: &both,
                    ..findings(&some)
                },
                "False Invalid, False Waiting, True EqualPriority",
            ),
        ];
        for (findings, expected) in cases {
            let status = status(&findings, &SessionPolicyStatus::default(), "now");
            assert_eq!(told(&status), expected);
            if findings.refusal.is_some() {
                assert!(
                    status.conditions[0]
                        .message
                        .contains("generation 2 stays in force")
                );
            }
        }
    }

    #[test]
    fn a_condition_keeps_the_time_since_when_it_is_so() {
        let (some, all) = (spread(1, 2), spread(2, 2));
        let first = status(&findings(&some), &SessionPolicyStatus::default(), "then");
        let second = status(&findings(&all), &first, "now");
        let times: Vec<_> = second
            .conditions
            .iter()
            .map(|c| c.last_transition_time.as_str())
            .collect();
        assert_eq!(times, ["then", "now", "then"]);
        assert_eq!(second.trackers.as_deref(), Some("2/2"));
        let fewer = Rollout {
            sessions: 6,
            ..spread(2, 2)
        };
        let third = status(&findings(&fewer), &second, "later");
        assert_ne!(third, second);
        assert!(!differ_in_more_than_sessions(&third, &second));
        assert!(differ_in_more_than_sessions(&second, &first));
    }
}
