//! Following a topic: from its beginning, through outages, until told to stop.

use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sundown::kafka::topic_reader::{TopicEvent, TopicReader, TopicRecord};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use crate::eventually::eventually;
use crate::kafka::{Kafka, unique_prefix};
use crate::topic::{BROKER_TIMEOUT, NewRecord};

const SOON: Duration = Duration::from_secs(60);

struct Following {
    followed: Receiver<TopicEvent>,
    stop: CancellationToken,
}

impl Following {
    fn start(kafka: &Kafka, topic: &str) -> Self {
        let stop = CancellationToken::new();
        Self {
            followed: TopicReader::start(&kafka.client(), topic, stop.clone()).expect("a follower"),
            stop,
        }
    }

    fn next(&mut self) -> TopicEvent {
        let followed = &mut self.followed;
        eventually(SOON, "news of the topic", || followed.try_recv().ok())
    }

    fn record(&mut self) -> TopicRecord {
        match self.next() {
            TopicEvent::Record(record) => record,
            TopicEvent::CaughtUp => panic!("caught up before the record"),
        }
    }

    /// Waits until the thread has let go of its end of the queue.
    fn await_end(&mut self) {
        let followed = &mut self.followed;
        eventually(SOON, "the end of the follower", || {
            while followed.try_recv().is_ok() {}
            followed.is_closed().then_some(())
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
fn what_is_there_comes_before_the_mark_and_what_is_added_after_it() {
    let kafka = Kafka::shared();
    let topic = unique_prefix("follow") + "topic";
    kafka.create_topic(&topic, 3, &[]);
    kafka.produce(
        &topic,
        [
            on(0, "a", Some("1")),
            on(1, "b", Some("2")),
            on(0, "a", None),
        ],
    );
    // Partition 1 ends with a transaction that is open until the follower has been started.
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
    let mut following = Following::start(kafka, &topic);
    producer.abort_transaction(BROKER_TIMEOUT).unwrap();

    let mut before = [(); 3].map(|()| following.record());
    before.sort_by_key(|record| (record.partition, record.offset));
    let told = before.each_ref().map(|record| {
        let (key, value) = (text(record.key.as_ref()), text(record.value.as_ref()));
        (record.partition, record.offset, key, value)
    });
    assert_eq!(
        told,
        [
            (0, 0, Some("a"), Some("1")),
            (0, 1, Some("a"), None),
            (1, 0, Some("b"), Some("2")),
        ]
    );
    assert_eq!(before[0].timestamp.as_millis(), 1_000);
    assert_eq!(following.next(), TopicEvent::CaughtUp);

    kafka.produce(&topic, [on(2, "c", Some("3"))]);
    assert_eq!(text(following.record().key.as_ref()), Some("c"));
    following.stop.cancel();
    following.await_end();
}

#[test]
fn it_outlives_brokers_that_are_gone_and_waits_for_the_topic() {
    let kafka = Kafka::own(1);
    kafka.kill(1);
    let mut following = Following::start(&kafka, "t");
    kafka.start(1);
    // It knows no such topic yet, and goes on asking.
    kafka.create_topic("t", 1, &[]);
    assert_eq!(following.next(), TopicEvent::CaughtUp);
    kafka.kill(1);
    kafka.start(1);
    kafka.produce("t", [on(0, "a", Some("1"))]);
    assert_eq!(text(following.record().key.as_ref()), Some("a"));
}

#[test]
fn it_stops_though_nobody_reads_what_it_has() {
    let kafka = Kafka::shared();
    let topic = unique_prefix("follow") + "topic";
    kafka.create_topic(&topic, 1, &[]);
    kafka.produce(&topic, vec![on(0, "a", Some("1")); 3_000]);
    let mut following = Following::start(kafka, &topic);
    eventually(SOON, "a full queue", || {
        (following.followed.len() == following.followed.max_capacity()).then_some(())
    });
    following.stop.cancel();
    following.await_end();
}
