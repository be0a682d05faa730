//! Tests of the helpers in `tests/support`.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::group::Committed;
use crate::support::kafka::{Kafka, unique_prefix};
use crate::support::process::{Launch, Stream};
use crate::support::topic::{BROKER_TIMEOUT, Isolation, NewRecord};
use crate::support::wait::eventually;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn records_come_back_as_they_were_written() {
    let kafka = Kafka::shared();
    let topic = unique_prefix("support") + "records";
    kafka.create_topic(&topic, 3, &[("cleanup.policy", "compact")]);

    let written = kafka.produce(
        &topic,
        [
            // The Java client's partitioner puts this key there; librdkafka's own default, on 2.
            NewRecord::new("foobar", "by key"),
            NewRecord {
                partition: Some(2),
                headers: vec![("why".into(), b"a test".to_vec())],
                timestamp: Some(1_000),
                ..NewRecord::new("key", r#"{"a": 1}"#)
            },
            NewRecord {
                partition: Some(2),
                value: None,
                ..NewRecord::new("key", "")
            },
        ],
    );
    assert_eq!(written, [(0, 0), (2, 0), (2, 1)]);

    let read = kafka.read(&topic, Isolation::ReadCommitted);
    let positions: Vec<_> = read
        .iter()
        .map(|record| (record.partition, record.offset))
        .collect();
    assert_eq!(positions, written);
    assert_eq!(read[0].value.as_deref(), Some(b"by key".as_slice()));
    assert_eq!(read[1].key.as_deref(), Some(b"key".as_slice()));
    assert_eq!(read[1].json(), serde_json::json!({"a": 1}));
    assert_eq!(
        (read[1].header("why"), read[1].header("how")),
        (Some("a test"), None)
    );
    assert_eq!(read[1].timestamp, 1_000);
    assert_eq!(read[2].value, None);
}

#[test]
fn a_group_is_as_far_behind_as_it_has_not_committed() {
    let kafka = Kafka::shared();
    let prefix = unique_prefix("support");
    let (topic, group) = (prefix.clone() + "lag", prefix + "group");
    kafka.create_topic(&topic, 2, &[]);
    let record = NewRecord {
        partition: Some(0),
        ..NewRecord::new("key", "value")
    };
    kafka.produce(&topic, vec![record; 5]);
    assert_eq!(kafka.committed(&group, &topic), BTreeMap::new());
    assert_eq!(kafka.lag(&group, &topic), BTreeMap::from([(0, 5), (1, 0)]));

    let consumer: BaseConsumer = kafka.client().set("group.id", &group).create().unwrap();
    let mut position = TopicPartitionList::new();
    let mut element = position.add_partition(&topic, 0);
    element.set_offset(Offset::Offset(3)).unwrap();
    element.set_metadata("where it stood");
    consumer.commit(&position, CommitMode::Sync).unwrap();

    let committed = Committed {
        offset: 3,
        metadata: "where it stood".into(),
    };
    assert_eq!(
        kafka.committed(&group, &topic),
        BTreeMap::from([(0, committed)])
    );
    assert_eq!(kafka.lag(&group, &topic), BTreeMap::from([(0, 2), (1, 0)]));
}

#[test]
fn a_broker_of_ones_own_freezes_and_dies_and_keeps_what_was_committed() {
    let kafka = Kafka::own(1);
    kafka.create_topic("t", 1, &[]);
    let producer: BaseProducer = kafka
        .client()
        .set("transactional.id", "id")
        .create()
        .unwrap();
    producer.init_transactions(BROKER_TIMEOUT).unwrap();
    for key in ["committed", "open"] {
        producer.begin_transaction().unwrap();
        producer
            .send(BaseRecord::to("t").key(key).payload("value"))
            .unwrap();
        producer.flush(BROKER_TIMEOUT).unwrap();
        if key == "committed" {
            producer.commit_transaction(BROKER_TIMEOUT).unwrap();
        }
    }

    kafka.stop(1);
    // The kernel accepts connections, but no process answers.
    let client: BaseConsumer = kafka.client().create().unwrap();
    assert!(
        client.fetch_metadata(None, Duration::from_secs(1)).is_err(),
        "frozen, it answers"
    );
    kafka.cont(1);
    client.fetch_metadata(None, BROKER_TIMEOUT).unwrap();

    kafka.kill(1);
    assert!(
        TcpStream::connect(kafka.bootstrap()).is_err(),
        "killed, it answers"
    );
    kafka.start(1);

    let keys = |isolation| -> Vec<String> {
        let records = kafka.read("t", isolation).into_iter();
        records
            .map(|record| String::from_utf8(record.key.unwrap()).unwrap())
            .collect()
    };
    assert_eq!(keys(Isolation::ReadUncommitted), ["committed", "open"]);
    assert_eq!(keys(Isolation::ReadCommitted), ["committed"]);
}

#[test]
fn a_broker_goes_when_its_owner_is_killed() {
    let mut owner = Launch::program("sleep").arg("600").start();
    let kafka = Kafka::own_of(1, owner.id());
    assert!(TcpStream::connect(kafka.bootstrap()).is_ok());
    // The owner has not been waited for: it stays behind as a zombie, and counts as gone.
    owner.sigkill();
    eventually(SOON, "the end of a broker without owner", || {
        (TcpStream::connect(kafka.bootstrap()).is_err() && !kafka.dir().exists()).then_some(())
    });
}

#[test]
fn a_process_is_observed_line_by_line_until_it_stops() {
    let script = "trap 'echo stopped >&2; exit 3' TERM; echo one; echo $GREETING; while :; do sleep 0.1; done";
    let mut process = Launch::program("sh")
        .args(["-c", script])
        .env("GREETING", "hello")
        .start();
    let line = process.wait_for_line(SOON, |line| line.text.starts_with("hel"));
    assert_eq!((line.stream, line.text.as_str()), (Stream::Stdout, "hello"));

    process.sigstop();
    process.sigterm();
    process.sigcont();
    process.wait_for_line(SOON, |line| line.stream == Stream::Stderr);
    assert_eq!(process.wait(SOON).code(), Some(3));
    assert_eq!(process.text(Stream::Stdout), "one\nhello\n");
    assert_eq!(process.text(Stream::Stderr), "stopped\n");
}

#[test]
fn the_binary_runs() {
    let mut sundown = Launch::sundown().arg("--version").start();
    assert!(sundown.wait(SOON).success());
}
