use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::{Offset, Timestamp, TopicPartitionList};
use tokio::sync::Semaphore;

use super::*;
use crate::handler::action::{Action, ActionInput, Attempt};
use crate::handler::circuit_breaker::CircuitBreaker;
use crate::handler::dead_letters::FailureReason;
use crate::handler::event::{Reasons, Triggers};
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

/// A handler of the only action, which panics; or, without `run`, one that checks events.
fn event_handler(config: &ClientConfig, run: bool) -> EventHandler {
    let health = Health::default();
    let registry = prometheus::Registry::new();
    let metrics = HandlerMetrics::new(&registry, [], &FailureReason::ALL).unwrap();
    let retry = RetryPolicy::default();
    let name: ActionName = "defect".parse().unwrap();
    let named = NamedAction {
        name: name.clone(),
        action: Arc::new(Panics),
        on: Triggers::default(),
        reasons: Reasons::default(),
    };
    let runner = ActionRunner {
        circuit: CircuitBreaker::new(name, retry, health.clone(), metrics.clone()),
        named: named.clone(),
        retry,
        slots: Semaphore::new(1),
        metrics: metrics.clone(),
        clock: Clock::default(),
    };
    let dead_letters = DeadLetterWriter::new(config.clone(), TOPIC.to_owned(), health).unwrap();
    EventHandler {
        run: run.then(|| (0, Arc::new(runner))),
        actions: [named].into(),
        policies: PolicyActions::not_loaded(),
        dead_letters: Arc::new(dead_letters),
        metrics,
        clock: Clock::default(),
    }
}

fn in_flight(value: &[u8], lease: PartitionLease) -> Arc<InFlight> {
    let time = Timestamp::CreateTime(0);
    let topic = "expired_sessions".to_owned();
    let record = OwnedMessage::new(Some(value.to_vec()), None, topic, time, 0, 7, None);
    Arc::new(InFlight::new(Trigger::Ending, record, Arc::new(lease)))
}

async fn handle(handler: &EventHandler, in_flight: &Arc<InFlight>) -> bool {
    handler.handle(in_flight, handler.need(in_flight)).await
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
    let handler = event_handler(&config, true);
    let event = || in_flight(ENDING, PartitionLease::new(0));
    assert!(handle(&handler, &event()).await);
    // The panic has returned its slot.
    assert!(handle(&handler, &event()).await);

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
    let handler = event_handler(&ClientConfig::new(), true);
    let lease = PartitionLease::new(0);
    lease.release();
    assert!(!handle(&handler, &in_flight(ENDING, lease)).await);
}

#[tokio::test]
async fn a_malformed_event_is_dead_lettered_by_the_check_and_skipped_by_actions() {
    let malformed = in_flight(b"{}", PartitionLease::new(0));
    let action = event_handler(&ClientConfig::new(), true);
    assert_eq!(action.need(&malformed), Need::Nothing(EventResult::Skipped));
    let check = event_handler(&ClientConfig::new(), false);
    assert!(matches!(check.need(&malformed), Need::GiveUp(_)));
    let sound = in_flight(ENDING, PartitionLease::new(0));
    assert_eq!(check.need(&sound), Need::Nothing(EventResult::Done));
    assert_eq!(action.need(&sound), Need::Run);
}
