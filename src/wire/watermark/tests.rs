use proptest::prelude::*;

use super::*;
use crate::wire::routing::RoutingKey;

const ROUTING: Routing = Routing {
    partitions: 2,
    key: RoutingKey::SessionId,
};

fn record(routing: Option<Routing>, topic: &str, watermarks: &[(i32, i64)]) -> WatermarkRecord {
    let watermarks = watermarks.iter().map(|&(partition, until)| Watermark {
        topic: topic.to_owned(),
        partition,
        until: Timestamp::from_millis(until),
    });
    WatermarkRecord {
        routing,
        watermarks: watermarks.collect(),
    }
}

fn store(records: &[(&str, WatermarkRecord)]) -> WatermarkStore {
    let mut store = WatermarkStore::default();
    for (key, record) in records {
        store.apply(key.as_bytes(), Some(&record.encode())).unwrap();
    }
    store
}

fn partitions(upstream: &Upstream) -> Vec<(i32, i64)> {
    let partitions = upstream.partitions.iter();
    partitions.map(|(p, at)| (*p, at.as_millis())).collect()
}

#[test]
fn the_latest_statement_about_a_partition_counts() {
    let store = store(&[
        (
            "tracker-a",
            record(Some(ROUTING), "logs", &[(0, 10), (1, 20)]),
        ),
        ("tracker-b", record(Some(ROUTING), "logs", &[(1, 15)])),
    ]);
    let upstream = store.upstream("logs", ROUTING, b"own");
    assert_eq!(partitions(&upstream), [(0, 10), (1, 20)]);
    assert_eq!((upstream.sources, upstream.problem), (None, None));
    assert_eq!(upstream.superseded, [b"tracker-b".to_vec()]);
    assert_eq!(store.superseded(b"tracker-b"), [] as [Vec<u8>; 0]);
}

#[test]
fn statements_under_another_routing_do_not_count() {
    let grown = Routing {
        partitions: 4,
        ..ROUTING
    };
    let store = store(&[
        ("tracker-a", record(Some(ROUTING), "logs", &[(0, 10)])),
        ("tracker-b", record(Some(grown), "logs", &[(0, 5)])),
        ("tracker-c", record(None, "logs", &[(1, 5)])),
    ]);
    assert_eq!(
        partitions(&store.upstream("logs", ROUTING, b"own")),
        [(0, 10)]
    );
    assert_eq!(partitions(&store.upstream("logs", grown, b"own")), [(0, 5)]);
}

#[test]
fn the_least_of_all_sources_counts() {
    let mut store = store(&[
        ("ingest/1", record(None, "nginx", &[(0, 30), (1, 9)])),
        ("ingest/2", record(None, "nginx", &[(1, 40)])),
        ("ingest/3", record(None, "events", &[(0, 25)])),
    ]);
    let least = |store: &WatermarkStore| {
        let upstream = store.upstream("logs", ROUTING, b"own");
        let least = upstream.source_topics.values().min();
        assert_eq!(upstream.sources.as_ref(), least);
        let sources = upstream.sources;
        sources.map(Timestamp::as_millis)
    };
    assert_eq!(least(&store), Some(25));
    store.apply(b"ingest/3", None).unwrap();
    assert_eq!(least(&store), Some(30));
}

const UNUSABLE: [&[u8]; 6] = [b"", b"{}", b"[1]", b"\xff", b"{\"v\":2}", b"{\"v\":1}"];

#[test]
fn a_source_record_that_cannot_be_used_is_a_problem_until_it_is_replaced() {
    let mut store = store(&[("tracker-a", record(Some(ROUTING), "logs", &[(0, 10)]))]);
    for value in UNUSABLE {
        store.apply(b"ingest/a\xff\n", Some(value)).unwrap_err();
        let problem = store.upstream("logs", ROUTING, b"own").problem;
        assert!(problem.is_some_and(|text| text.contains("tombstone")));
    }
    store.apply(b"ingest/a\xff\n", None).unwrap();
    assert_eq!(store.upstream("logs", ROUTING, b"own").problem, None);
}

#[test]
fn what_a_tracker_stated_last_stays_true_after_a_record_that_cannot_be_used() {
    let mut store = store(&[("tracker-a", record(Some(ROUTING), "logs", &[(0, 10)]))]);
    let before = store.upstream("logs", ROUTING, b"own");
    for value in UNUSABLE {
        store.apply(b"tracker-a", Some(value)).unwrap_err();
        store.apply(b"tracker-b", Some(value)).unwrap_err();
    }
    assert_eq!(store.upstream("logs", ROUTING, b"own"), before);
}

#[test]
fn records_with_unknown_keys_state_nothing() {
    let mut store = WatermarkStore::default();
    let tracker = record(Some(ROUTING), "logs", &[(0, i64::MAX)]).encode();
    let source = record(None, "nginx", &[(0, 0)]).encode();
    for key in [&b""[..], b"\xff", b"nginx", b"Tracker-a"] {
        for value in [Some(tracker.as_slice()), Some(&source), Some(b"{}"), None] {
            let unknown = Err(WatermarkError::UnknownKey);
            assert_eq!(store.apply(key, value), unknown);
        }
    }
    // Neither does a tracker about sources, nor a source about partitions of the session events.
    store.apply(b"tracker-a", Some(&source)).unwrap();
    store.apply(b"ingest/a", Some(&tracker)).unwrap();
    let upstream = store.upstream("logs", ROUTING, b"tracker-a");
    assert_eq!(upstream, Upstream::default());
}

#[test]
fn unknown_fields_are_ignored() {
    let value = br#"{"v":1,"more":[1],"watermarks":[{"topic":"t","partition":3,"until":5,"x":{}}],"routing":null}"#;
    let expected = record(None, "t", &[(3, 5)]);
    assert_eq!(WatermarkRecord::decode(value), Ok(expected));
}

proptest! {
    #[test]
    fn encoded_records_can_be_decoded(
        topic in ".{0,20}",
        watermarks in prop::collection::vec((any::<i32>(), any::<i64>()), 0..5),
        routing in prop::option::of(Just(ROUTING)),
    ) {
        let record = record(routing, &topic, &watermarks);
        prop_assert_eq!(WatermarkRecord::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn no_bytes_panic(key: Vec<u8>, value: Vec<u8>, text in "[\\[\\]{}:\",0-9a-z]{0,60}") {
        let mut store = WatermarkStore::default();
        for prefix in [&b""[..], b"tracker-", b"ingest/"] {
            let key = [prefix, &key].concat();
            let _applied_or_refused = store.apply(&key, Some(&value));
            let _applied_or_refused = store.apply(&key, Some(text.as_bytes()));
        }
        let _upstream = store.upstream("logs", ROUTING, b"own");
    }
}

#[test]
fn the_first_layout_that_was_stated_for_a_topic_counts() {
    let routing = |partitions| Routing {
        partitions,
        ..ROUTING
    };
    let mut store = WatermarkStore::default();
    let mut apply = |partitions, topic_id: &str| {
        let record = LayoutRecord {
            routing: routing(partitions),
            topic_id: Some(topic_id.to_owned()),
        };
        let value = record.encode();
        store.apply(&LayoutRecord::new_key(), Some(&value)).unwrap();
    };
    apply(3, "deleted");
    apply(6, "topic");
    apply(12, "topic");
    assert_eq!(store.agreed_layout(Some("topic")), Some(routing(6)));
    assert_eq!(store.agreed_layout(Some("other")), None);
    // On brokers that have no ids.
    assert_eq!(store.agreed_layout(None), Some(routing(3)));
    assert!(store.routings().is_empty(), "no tracker applies them yet");

    for value in [
        "{}",
        r#"{"v":2}"#,
        r#"{"v":1,"routing":{"partitions":0,"key":"user_id"}}"#,
    ] {
        let unusable = store.apply(b"layout/x", Some(value.as_bytes()));
        assert_eq!(unusable.unwrap_err().reason(), "malformed", "{value}");
    }
}
