use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::{Offset, Timestamp, TopicPartitionList};

use super::*;
use crate::handler::action::{Action, Attempt};
use crate::handler::event::{Trigger, Triggers};
use crate::handler::partition_lease::PartitionLease;
use crate::handler::work::InFlight;
use crate::health::Health;

const TOPIC: &str = "expired_sessions.dlq";
const ENDING: &[u8] = br#"{"event_id":"6f9619ff-8b86-5d01-b42d-00cf4fc964ff","session_id":"s",
    "user_id":1,"reason":"logout","policy":{"name":"default","generation":0},
    "started_at":null,"last_activity":null,"ended_at":"2025-02-07T12:00:00.000Z",
    "detected_at":"2025-02-07T12:00:00.000Z"}"#;

struct Panics;

impl Action for Panics {
    fn run<'a>(&'a self, _delivery: Delivery<'a>) -> Attempt<'a> {
        Box::pin(async { panic!("a defect") })
    }
}

struct Succeeds;

impl Action for Succeeds {
    fn run<'a>(&'a self, _delivery: Delivery<'a>) -> Attempt<'a> {
        Box::pin(std::future::ready(Ok(())))
    }
}

fn worker(config: &ClientConfig, actions: Vec<(&str, Arc<dyn Action>)>) -> Arc<Worker> {
    let health = Health::default();
    let registry = prometheus::Registry::new();
    let metrics = HandlerMetrics::new(&registry, [], &Reason::ALL).unwrap();
    let runner = |(name, action): (&str, Arc<dyn Action>)| {
        let name: crate::handler::fields::ActionName = name.parse().unwrap();
        let patience = RetryPolicy::default();
        ActionRunner {
            circuit: CircuitBreaker::new(name.clone(), patience, health.clone(), metrics.clone()),
            named: NamedAction {
                name,
                action,
                on: Triggers::default(),
            },
        }
    };
    let topic = TOPIC.to_owned();
    let dead_letters =
        DeadLetters::new(config.clone(), topic, health.clone(), metrics.clone()).unwrap();
    Arc::new(Worker {
        stations: actions.into_iter().map(runner).collect(),
        retry: RetryPolicy::default(),
        slots: Arc::new(Semaphore::new(1)),
        actions_of: Arc::new(|_| None),
        dead_letters: Some(dead_letters),
        metrics,
        clock: Clock::default(),
    })
}

fn work(lease: Arc<PartitionLease>) -> Arc<Work> {
    let in_flight = InFlight {
        partition: 0,
        assignment: 1,
        offset: 7,
        bytes: 1,
    };
    let time = Timestamp::CreateTime(0);
    let topic = "expired_sessions".to_owned();
    let record = OwnedMessage::new(Some(ENDING.to_vec()), None, topic, time, 0, 7, None);
    Arc::new(Work::new(Trigger::Ending, in_flight, record, lease))
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
async fn an_action_that_panics_neither_loses_the_event_nor_stops_at_it() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, 1, 1).unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers());
    let actions: [(_, Arc<dyn Action>); 2] =
        [("defect", Arc::new(Panics)), ("sound", Arc::new(Succeeds))];
    let worker = worker(&config, actions.into());
    assert!(worker.finish(&work(Arc::default())).await);
    // The place that it held is free again.
    assert!(worker.finish(&work(Arc::default())).await);

    let letter = first_dead_letter(&config);
    assert_eq!(letter.payload(), Some(ENDING));
    let headers = letter.headers().unwrap();
    let pending_actions = headers
        .iter()
        .find(|header| header.key == "sundown-dlq-pending-actions");
    assert_eq!(pending_actions.unwrap().value, Some(b"defect".as_slice()));
}

#[tokio::test]
async fn what_is_released_before_its_turn_is_not_begun() {
    let worker = worker(&ClientConfig::new(), vec![("defect", Arc::new(Panics))]);
    let lease = Arc::new(PartitionLease::default());
    lease.release();
    assert!(!worker.finish(&work(lease)).await);
}
