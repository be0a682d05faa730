//! `sundown dlq`: dead letters are redriven or discarded.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use serde_json::Value;

use super::{Ending, Installation, SOON, stop, webhook};
use crate::receiver::{Receiver, Response};
use crate::support::process::{Launch, Stream};
use crate::support::topic::{Isolation, NewRecord};
use crate::support::wait::eventually;

/// What a command printed, and whether it succeeded.
fn dlq(installation: &Installation<'_>, args: &[&str]) -> (bool, String) {
    let mut process = Launch::sundown()
        .args(["dlq", args[0], "-b", installation.kafka.bootstrap()])
        .args(["--topic-prefix", &installation.prefix])
        .args(&args[1..])
        .start();
    let success = process.wait(SOON).success();
    let text = [Stream::Stdout, Stream::Stderr].map(|stream| process.text(stream));
    (success, text.concat())
}

fn list(installation: &Installation<'_>, filters: &[&str]) -> Vec<Value> {
    let kind = ["list", "--kind", "endings", "-o", "json"];
    let (success, text) = dlq(installation, &[&kind, filters].concat());
    assert!(success, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Letters that are there, markers left out.
fn with_value(installation: &Installation<'_>) -> usize {
    let letters = installation.dead_letters();
    letters
        .iter()
        .filter(|letter| letter.value.is_some())
        .count()
}

#[test]
fn a_redrive_runs_pending_actions_and_keeps_the_history_of_failures() {
    let installation = Installation::new(2);
    let good = Receiver::start(|_| Response::Status(200));
    let status = Arc::new(AtomicU16::new(410));
    let bad = Receiver::start({
        let status = Arc::clone(&status);
        move |_| Response::Status(status.load(SeqCst))
    });
    let ending = Ending::of("user");
    installation.write(std::slice::from_ref(&ending));
    let actions = webhook("good", &good.url()) + &webhook("bad", &bad.url());
    let handler = installation.start(&actions, "");
    installation.wait_for_dead_letters(1);

    let letters = list(&installation, &["--action", "bad", "--reason", "refused"]);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["session"], ending.session.as_str());
    assert_eq!(letters[0]["pending_actions"], serde_json::json!(["bad"]));
    assert!(list(&installation, &["--action", "good"]).is_empty());

    // It fails once more.
    let (success, said) = dlq(&installation, &["redrive", "--all", "--kind", "endings"]);
    assert!(success && said.contains("1 redriven"), "{said}");
    bad.wait_for(SOON, 2);
    installation.wait_until_drained();
    let letters = list(&installation, &[]);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["redrives"], 1);
    let id = letters[0]["id"].as_str().unwrap();
    let (_, shown) = dlq(&installation, &["show", id, "-o", "json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["history"][0]["reason"], "refused");
    assert_eq!(
        shown["history"][0]["source"],
        format!(
            "{}/{}/0",
            installation.topic(),
            source_partition(&installation)
        )
    );

    // And then it does not.
    status.store(200, SeqCst);
    let (success, said) = dlq(&installation, &["redrive", id]);
    assert!(success && said.contains("1 redriven"), "{said}");
    let calls = bad.wait_for(SOON, 3);
    installation.wait_until_drained();
    assert_eq!(calls[2].body, ending.bytes);
    assert_eq!(good.calls().len(), 1, "what is done is not done again");
    assert!(list(&installation, &[]).is_empty());
    let (success, said) = dlq(&installation, &["redrive", "--all", "--kind", "endings"]);
    assert!(success && said.contains("0 redriven"), "{said}");
    stop(handler);
}

fn source_partition(installation: &Installation<'_>) -> String {
    let letters = installation.dead_letters();
    let header = letters[0].header("sundown-dlq-source-partition");
    header.unwrap().to_owned()
}

#[test]
fn nothing_is_touched_unless_it_is_meant() {
    let installation = Installation::new(1);
    let refusing = Receiver::start(|_| Response::Status(410));
    let endings: Vec<_> = (0..3).map(|user| Ending::of(&user.to_string())).collect();
    installation.write(&endings);
    let handler = installation.start_calling(&refusing, "");
    installation.wait_for_dead_letters(3);
    stop(handler);

    for args in [
        &["redrive", "--kind", "endings"][..],
        &["discard", "--all", "--kind", "endings"],
        &["show", "elsewhere.dlq/0/0"],
        &["redrive", &format!("{}/0/0", installation.topic())],
    ] {
        let (success, said) = dlq(&installation, args);
        assert!(!success, "{args:?}: {said}");
    }
    let (success, said) = dlq(
        &installation,
        &["redrive", "--all", "--dry-run", "--kind", "endings"],
    );
    assert!(success && said.contains(&endings[0].session), "{said}");
    assert!(list(&installation, &["--older-than", "1h"]).is_empty());
    assert_eq!(list(&installation, &["--newer-than", "1h"]).len(), 3);

    let session = endings[1].session.as_str();
    let (success, said) = dlq(
        &installation,
        &[
            "discard",
            "--all",
            "--yes",
            "--kind",
            "endings",
            "--session",
            session,
        ],
    );
    assert!(success && said.contains("1 discarded"), "{said}");
    let left = list(&installation, &[]);
    assert_eq!(left.len(), 2);
    let second = left[1].clone();
    let (success, said) = dlq(
        &installation,
        &["redrive", "--all", "--kind", "endings", "--limit", "1"],
    );
    assert!(success && said.contains("1 redriven"), "{said}");
    let left = list(&installation, &[]);
    assert_eq!(left, [second], "the oldest is redriven first");
    assert_eq!(with_value(&installation), 3, "Kafka keeps them");
}

#[test]
fn a_retry_that_is_killed_and_called_again_brings_each_letter_back_once() {
    let installation = Installation::new(1);
    let source = format!("{}session_logs", installation.prefix);
    let dead = format!("{source}.dlq");
    installation.kafka.create_topic(&source, 1, &[]);
    installation.kafka.create_topic(&dead, 2, &[]);
    let count = 20_000;
    let letters = (0..count).map(|number: usize| NewRecord::new(number.to_string(), "{}"));
    installation.kafka.produce(&dead, letters);
    let mut first = Launch::sundown()
        .args([
            "dlq",
            "redrive",
            "--all",
            "-b",
            installation.kafka.bootstrap(),
        ])
        .args(["--topic-prefix", &installation.prefix])
        .args(["--kind", "events"])
        .start();
    let brought = || installation.kafka.read(&source, Isolation::ReadUncommitted);
    eventually(SOON, "some letters to be back", || {
        (!brought().is_empty()).then_some(())
    });
    first.sigkill();
    let (success, said) = dlq(&installation, &["redrive", "--all", "--kind", "events"]);
    assert!(success, "{said}");
    // The marker of the last transaction may reach the partition after the command has ended.
    let records = eventually(SOON, "every letter to be back", || {
        let records = installation.kafka.read(&source, Isolation::ReadCommitted);
        (records.len() >= count).then_some(records)
    });
    let keys: BTreeSet<_> = records.iter().map(|record| record.key.clone()).collect();
    assert_eq!((records.len(), keys.len()), (count, count), "{said}");
}

#[test]
fn a_session_event_goes_back_to_its_partition_as_it_was() {
    let installation = Installation::new(1);
    let source = format!("{}session_logs", installation.prefix);
    let dead = format!("{source}.dlq");
    for topic in [&source, &dead] {
        installation.kafka.create_topic(topic, 3, &[]);
    }
    let headers = [
        ("trace", "abc"),
        ("sundown-dlq-reason", "too_many_sessions"),
        ("sundown-dlq-source-partition", "2"),
    ];
    let letter = NewRecord {
        key: Some(b"s".to_vec()),
        value: Some(b"{\"session_id\": \"s\"}".to_vec()),
        headers: headers
            .map(|(name, value)| (name.into(), value.into()))
            .to_vec(),
        ..NewRecord::default()
    };
    let truncated = NewRecord {
        headers: vec![("sundown-dlq-omitted-bytes".into(), b"9".to_vec())],
        value: None,
        ..letter.clone()
    };
    installation
        .kafka
        .produce(&dead, [letter.clone(), truncated]);
    let (success, said) = dlq(&installation, &["redrive", "--all"]);
    assert!(success && said.contains("1 redriven"), "{said}");
    assert!(said.contains("skipped"), "{said}");
    let records = installation.kafka.read(&source, Isolation::ReadCommitted);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].partition, 2);
    assert_eq!(
        (&records[0].key, &records[0].value),
        (&letter.key, &letter.value)
    );
    let names: Vec<_> = records[0]
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["trace", "sundown-redrive-history"]);
}
