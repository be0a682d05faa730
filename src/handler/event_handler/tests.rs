use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::{Offset, Timestamp, TopicPartitionList};
use tokio::sync::Semaphore;

use super::*;
use crate::handler::action::named::NamedAction;
use crate::handler::action::{Action, ActionInput, Attempt};
use crate::handler::circuit_breaker::CircuitBreaker;
use crate::handler::dead_letters::FailureReason;
use crate::handler::event::{Trigger, Triggers};
use crate::handler::fields::ActionName;
use crate::handler::partition_lease::PartitionLease;
use crate::handler::retry::RetryPolicy;
use crate::health::Health;

const TOPIC: &str = "expired_sessions.dlq";
const ENDING: &[u8] = br#"{"event_id":"6f9619ff-8b86-5d01-b42d-00cf4fc964ff","session_id":"s",
    "user_id":1,"reason":"logout","policy":{"name":"default","generation":0},
    "started_at":null,"last_activity":null,"ended_at":"2025-02-07T12:00:00.000Z",
    "detected_at":"2025-02-07T12:00:00.000Z"}"#;

struct Panics;

impl Action for Panics {
    fn run<'a>(&'a self, _input: ActionInput<'a>) -> Attempt<'a> {
        Box::pin(async { panic!("a defect") })
    }
}

struct Succeeds;

impl Action for Succeeds {
    fn run<'a>(&'a self, _input: ActionInput<'a>) -> Attempt<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

fn event_handler(config: &ClientConfig, actions: Vec<(&str, Arc<dyn Action>)>) -> EventHandler {
    let health = Health::default();
    let registry = prometheus::Registry::new();
    let metrics = HandlerMetrics::new(&registry, [], &FailureReason::ALL).unwrap();
    let slots = Arc::new(Semaphore::new(1));
    let retry = RetryPolicy::default();
    let runner = |(name, action): (&str, Arc<dyn Action>)| {
        let name: ActionName = name.parse().unwrap();
        ActionRunner {
            circuit: CircuitBreaker::new(name.clone(), retry, health.clone(), metrics.clone()),
            named: NamedAction {
                name,
                action,
                on: Triggers::default(),
            },
            retry,
            slots: Arc::clone(&slots),
            metrics: metrics.clone(),
            clock: Clock::default(),
        }
    };
    let topic = TOPIC.to_owned();
    let dead_letters =
        DeadLetterWriter::new(config.clone(), topic, health.clone(), metrics.clone()).unwrap();
    EventHandler {
        runners: actions.into_iter().map(runner).collect(),
        policies: PolicyActions::not_loaded(),
        dead_letters: Some(dead_letters),
        metrics,
        clock: Clock::default(),
    }
}

fn in_flight(lease: PartitionLease) -> Arc<InFlight> {
    let time = Timestamp::CreateTime(0);
    let topic = "expired_sessions".to_owned();
    let record = OwnedMessage::new(Some(ENDING.to_vec()), None, topic, time, 0, 7, None);
    Arc::new(InFlight::new(Trigger::Ending, record, Arc::new(lease)))
}

fn first_dead_letter(config: &ClientConfig) -> OwnedMessage {
    let reader: BaseConsumer = config.clone().set("group.id", "reader").create().unwrap();
    let mut assignment = TopicPartitionList::new();
    let beginning = Offset::Beginning;
    assignment
        .add_partition_offset(TOPIC, 0, beginning)
        .unwrap();
    reader.assign(&assignment).unwrap();
    let letter = reader.poll(Duration::from_secs(60)).expect("a dead letter");
    letter.unwrap().detach()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_panics_neither_loses_the_event_nor_blocks_the_partition() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    let actions: [(_, Arc<dyn Action>); 2] =
        [("defect", Arc::new(Panics)), ("sound", Arc::new(Succeeds))];
    let handler = event_handler(&config, actions.into());
    assert!(handler.handle(&in_flight(PartitionLease::new(0))).await);
    // The panic has returned its slot.
    assert!(handler.handle(&in_flight(PartitionLease::new(0))).await);

    let letter = first_dead_letter(&config);
    assert_eq!(letter.payload(), Some(ENDING));
    let headers = letter.headers().unwrap();
    let pending = headers
        .iter()
        .find(|header| header.key == "sundown-dlq-pending-actions");
    assert_eq!(pending.unwrap().value, Some(b"defect".as_slice()));
}

#[tokio::test]
async fn an_event_that_is_released_before_its_turn_does_not_begin() {
    let handler = event_handler(&ClientConfig::new(), vec![("defect", Arc::new(Panics))]);
    let lease = PartitionLease::new(0);
    lease.release();
    assert!(!handler.handle(&in_flight(lease)).await);
}
