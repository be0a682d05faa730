//! A topic feed reads from the beginning, survives broker outages, and stops on request.

use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sundown::health::Health;
use sundown::kafka::topic_feed::{TopicEvent, TopicFeed, TopicRecord};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::topic::{BROKER_TIMEOUT, NewRecord};
use crate::support::wait::eventually;

const TIMEOUT: Duration = Duration::from_secs(60);

struct Feed {
    events: Receiver<TopicEvent>,
    stop: CancellationToken,
}

impl Feed {
    fn start(kafka: &Kafka, topic: &str) -> Self {
        let stop = CancellationToken::new();
        Self {
            events: TopicFeed::start(&kafka.client(), topic, &Health::default(), stop.clone())
                .expect("a feed"),
            stop,
        }
    }

    fn next(&mut self) -> TopicEvent {
        let events = &mut self.events;
        eventually(TIMEOUT, "an event of the feed", || events.try_recv().ok())
    }

    fn record(&mut self) -> TopicRecord {
        match self.next() {
            TopicEvent::Record(record) => record,
            TopicEvent::CaughtUp => panic!("caught up before the record"),
        }
    }

    /// Waits until the thread has dropped its end of the channel.
    fn await_end(&mut self) {
        let events = &mut self.events;
        eventually(TIMEOUT, "the end of the feed", || {
            while events.try_recv().is_ok() {}
            events.is_closed().then_some(())
        });
    }
}

fn text(bytes: Option<&Vec<u8>>) -> Option<&str> {
    bytes.map(|bytes| str::from_utf8(bytes).expect("UTF-8"))
}

fn on(partition: i32, key: &str, value: Option<&str>) -> NewRecord {
    NewRecord {
        partition: Some(partition),
        value: value.map(Into::into),
        timestamp: Some(1_000),
        ..NewRecord::new(key, "")
    }
}

#[test]
fn existing_records_precede_caught_up_and_appended_ones_come_after() {
    let kafka = Kafka::shared();
    let topic = unique_prefix("feed") + "topic";
    kafka.create_topic(&topic, 3, &[]);
    kafka.produce(
        &topic,
        [
            on(0, "a", Some("1")),
            on(1, "b", Some("2")),
            on(0, "a", None),
        ],
    );
    // Partition 1 ends with a transaction that is open until the feed has been started.
    let producer: BaseProducer = kafka
        .client()
        .set("transactional.id", &topic)
        .create()
        .unwrap();
    producer.init_transactions(BROKER_TIMEOUT).unwrap();
    producer.begin_transaction().unwrap();
    let record = BaseRecord::to(&topic).partition(1).key("b").payload("no");
    producer.send(record).unwrap();
    producer.flush(BROKER_TIMEOUT).unwrap();
    let mut feed = Feed::start(kafka, &topic);
    producer.abort_transaction(BROKER_TIMEOUT).unwrap();

    let mut before = [(); 3].map(|()| feed.record());
    before.sort_by_key(|record| (record.partition, record.offset));
    let records = before.each_ref().map(|record| {
        let (key, value) = (text(record.key.as_ref()), text(record.value.as_ref()));
        (record.partition, record.offset, key, value)
    });
    assert_eq!(
        records,
        [
            (0, 0, Some("a"), Some("1")),
            (0, 1, Some("a"), None),
            (1, 0, Some("b"), Some("2")),
        ]
    );
    assert_eq!(before[0].timestamp.as_millis(), 1_000);
    assert_eq!(feed.next(), TopicEvent::CaughtUp);

    kafka.produce(&topic, [on(2, "c", Some("3"))]);
    assert_eq!(text(feed.record().key.as_ref()), Some("c"));
    feed.stop.cancel();
    feed.await_end();
}

#[test]
fn it_survives_broker_outages_and_waits_for_the_topic() {
    let kafka = Kafka::own(1);
    kafka.kill(1);
    let mut feed = Feed::start(&kafka, "t");
    kafka.start(1);
    // The topic does not exist yet; the feed retries.
    kafka.create_topic("t", 1, &[]);
    assert_eq!(feed.next(), TopicEvent::CaughtUp);
    kafka.kill(1);
    kafka.start(1);
    kafka.produce("t", [on(0, "a", Some("1"))]);
    assert_eq!(text(feed.record().key.as_ref()), Some("a"));
}

#[test]
fn it_stops_while_its_channel_is_full() {
    let kafka = Kafka::shared();
    let topic = unique_prefix("feed") + "topic";
    kafka.create_topic(&topic, 1, &[]);
    kafka.produce(&topic, vec![on(0, "a", Some("1")); 3_000]);
    let mut feed = Feed::start(kafka, &topic);
    eventually(TIMEOUT, "a full channel", || {
        (feed.events.len() == feed.events.max_capacity()).then_some(())
    });
    feed.stop.cancel();
    feed.await_end();
}
