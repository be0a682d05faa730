use rdkafka::Timestamp;
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

use super::*;
use crate::handler::action::log::Log;
use crate::handler::event::{Reasons, Trigger, Triggers};
use crate::handler::fields::ActionName;
use crate::handler::partition_lease::PartitionLease;

const ENDING: &str = r#"{"event_id":"6f9619ff-8b86-5d01-b42d-00cf4fc964ff","session_id":"s",
    "user_id":1,"reason":"logout","policy":{"name":"acme","generation":0},
    "started_at":null,"last_activity":null,"ended_at":"2025-02-07T12:00:00.000Z",
    "detected_at":"2025-02-07T12:00:00.000Z"}"#;

fn in_flight(value: &str, redriven: Option<&str>) -> InFlight {
    let headers = redriven.map(|names| {
        OwnedHeaders::new().insert(Header {
            key: REDRIVE_ACTIONS,
            value: Some(names),
        })
    });
    let value = Some(value.as_bytes().to_vec());
    let time = Timestamp::CreateTime(0);
    let record = OwnedMessage::new(value, None, "t".to_owned(), time, 0, 7, headers);
    let lease = Arc::new(PartitionLease::new(0));
    InFlight::new(Trigger::Ending, record, lease)
}

/// `a` and `c` run for endings, `b` only for warnings.
fn selected(in_flight: &InFlight, policy: Option<&[&str]>) -> (Vec<usize>, Vec<String>) {
    let action = |(name, on): (&str, Vec<Trigger>)| {
        let name: ActionName = name.parse().unwrap();
        let action = Arc::new(Log::new(name.clone()));
        let on = Triggers::try_from(on).unwrap();
        NamedAction {
            name,
            action,
            on,
            reasons: Reasons::default(),
        }
    };
    let (ending, warning) = (Trigger::Ending, Trigger::Warning);
    let actions = [
        ("a", vec![ending, warning]),
        ("b", vec![warning]),
        ("c", vec![ending]),
    ];
    let actions = actions.map(action);
    let names: Option<Vec<String>> =
        policy.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    let selection = ActionSelection::of(in_flight, &actions.iter(), |policy| {
        assert_eq!(policy, "acme");
        names.as_deref().map(Arc::from)
    });
    (selection.known, selection.unknown)
}

fn unknown(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

#[test]
fn a_policy_without_actions_selects_all_that_run_on_the_trigger() {
    let decoded = in_flight(ENDING, None);
    assert_eq!(selected(&decoded, None), (vec![0, 2], vec![]));
    let malformed = in_flight("{}", None);
    assert_eq!(selected(&malformed, None), (vec![0, 2], vec![]));
}

#[test]
fn a_policy_selects_the_actions_that_it_names() {
    let ending = in_flight(ENDING, None);
    assert_eq!(selected(&ending, Some(&["c", "b"])), (vec![2], vec![]));
    assert_eq!(selected(&ending, Some(&[])), (vec![], vec![]));
    assert_eq!(
        selected(&ending, Some(&["nosuch", "a", "a"])),
        (vec![0], unknown("nosuch"))
    );
}

#[test]
fn a_redriven_event_selects_its_pending_actions_and_ignores_its_policy() {
    let redriven = in_flight(ENDING, Some("c,gone"));
    assert_eq!(
        selected(&redriven, Some(&["a"])),
        (vec![2], unknown("gone"))
    );
}

#[test]
fn an_action_runs_for_its_reasons_alone() {
    let named = |reasons: &str| NamedAction {
        name: "a".parse().unwrap(),
        action: Arc::new(Log::new("a".parse().unwrap())),
        on: Triggers::default(),
        reasons: serde_yaml::from_str(reasons).unwrap(),
    };
    let decoded = in_flight(ENDING, None);
    for (reasons, selected) in [
        ("[logout, revoked]", vec![0]),
        ("[idle_timeout]", vec![]),
        ("[logout]", vec![0]),
    ] {
        let actions = [named(reasons)];
        let selection = ActionSelection::of(&decoded, &actions.iter(), |_| None);
        assert_eq!(selection.known, selected, "{reasons}");
    }
}
