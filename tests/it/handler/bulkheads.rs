//! Isolation of actions: a failing target delays no other action.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use serde_json::Value;

use super::failure::{admin_address, probe};
use super::{Ending, Installation, SOON, once, stop, webhook};
use crate::receiver::{Receiver, Response};
use crate::support::topic::Isolation;
use crate::support::wait::eventually;

fn crowd(size: usize) -> Vec<Ending> {
    (0..size)
        .map(|user| Ending::of(&format!("user {user}")))
        .collect()
}

/// What the handler's last report says of an action.
fn reported(installation: &Installation<'_>, action: &str) -> Option<Value> {
    let topic = format!("{}sundown.processes", installation.prefix);
    let reports = installation.kafka.read(&topic, Isolation::ReadCommitted);
    let last = reports.last()?.json();
    let actions = last["actions"].as_array()?.clone();
    actions.into_iter().find(|one| one["action"] == action)
}

#[test]
fn a_dead_target_delays_no_other_action_and_a_restart_repeats_none() {
    let installation = Installation::new(3);
    let healthy = Receiver::start(|_| Response::Status(200));
    let place = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = place.local_addr().unwrap();
    drop(place);
    let actions =
        webhook("healthy", &healthy.url()) + &webhook("dead", &format!("http://{dead}/hook"));
    let start = || {
        let launch = installation.launch(&actions, "initialBackoff: 10ms, maxBackoff: 100ms");
        launch.args(["--concurrency", "64"]).start()
    };
    let mut endings = crowd(3_000);
    installation.write(&endings);
    let handler = start();
    healthy.wait_for(SOON, endings.len());
    installation.wait_until_group_drained(&installation.group_of("healthy"));
    assert!(healthy.accepted() == once(&endings), "each once");

    // The process is ready and names the action that is behind, and by how much.
    let admin = admin_address(&handler);
    let ready = probe(admin, "/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.contains("action dead"),
        "{ready}"
    );
    let backlog = eventually(SOON, "the backlog of the dead action", || {
        reported(&installation, "dead").filter(|one| one["backlog"].as_i64() >= Some(3_000))
    });
    assert!(
        backlog["problem"]
            .as_str()
            .unwrap()
            .contains("cannot be used")
    );
    let metrics = probe(admin, "/metrics");
    let gauge = |action: &str| {
        format!(r#"sundown_handler_backlog_events{{action="{action}",trigger="ending"}}"#)
    };
    assert!(metrics.contains(&(gauge("healthy") + " 0")), "{metrics}");
    assert!(!metrics.contains(&(gauge("dead") + " 0")), "{metrics}");
    stop(handler);

    let handler = start();
    let more = crowd(100);
    installation.write(&more);
    endings.extend(more);
    healthy.wait_for(SOON, endings.len());
    installation.wait_until_group_drained(&installation.group_of("healthy"));
    assert!(healthy.accepted() == once(&endings), "each once");
    assert_eq!(installation.dead_letters(), []);

    // Back again, it gets everything.
    let revived = Receiver::start_at(dead, |_| Response::Status(200));
    revived.wait_for(SOON, endings.len());
    installation.wait_until_drained();
    assert!(revived.accepted() == once(&endings), "each once");
    assert!(healthy.accepted() == once(&endings), "each once");
    stop(handler);
}

#[test]
fn a_target_that_never_answers_takes_the_slots_of_its_own_action_only() {
    let installation = Installation::new(1);
    let healthy = Receiver::start(|_| Response::Status(200));
    let tarpit = Receiver::start(|_| Response::Silence);
    let patient = webhook("tarpit", &tarpit.url()).replace("timeout: 2s", "timeout: 1h");
    let actions = patient + &webhook("healthy", &healthy.url());
    let endings = crowd(200);
    installation.write(&endings);
    let handler = installation
        .launch(&actions, "")
        .args(["--concurrency", "4"])
        .start();
    tarpit.wait_for(SOON, 4);
    installation.wait_until_group_drained(&installation.group_of("healthy"));
    assert_eq!(healthy.accepted(), once(&endings));
    assert_eq!(tarpit.count(), 4);
    stop(handler);
}

#[test]
fn a_new_action_starts_at_the_present_and_a_renamed_one_repeats_nothing() {
    for protocol in ["classic", "consumer"] {
        change_actions(protocol);
    }
}

fn change_actions(protocol: &str) {
    let installation = Installation::new(2);
    let start = |actions: &str| {
        let launch = installation.launch(actions, "");
        launch.args(["--group-protocol", protocol]).start()
    };
    let [first, second] = [(); 2].map(|()| Receiver::start(|_| Response::Status(200)));
    let past = crowd(20);
    installation.write(&past);
    let handler = start(&webhook("first", &first.url()));
    installation.wait_until_drained();
    stop(handler);

    let meanwhile = crowd(5);
    installation.write(&meanwhile);
    let handler = start(&webhook("second", &second.url()));
    installation.wait_until_group_drained(&installation.group_of("second"));
    assert_eq!(first.accepted(), once(&past));
    assert_eq!(second.accepted(), once(&meanwhile));
    stop(handler);

    // The first one is back: it goes on where it stopped.
    let actions = webhook("first", &first.url()) + &webhook("second", &second.url());
    let handler = start(&actions);
    installation.wait_until_drained();
    assert_eq!(first.accepted(), once(&[past, meanwhile.clone()].concat()));
    assert_eq!(second.accepted(), once(&meanwhile));
    stop(handler);
}

#[test]
fn an_action_unknown_to_the_file_is_dead_lettered_once_whatever_the_targets_do() {
    let installation = Installation::new(1);
    let down = Arc::new(AtomicBool::new(true));
    let receiver = Receiver::start({
        let down = Arc::clone(&down);
        move |_| Response::Status(if down.load(SeqCst) { 503 } else { 200 })
    });
    let ending = Ending::of("user");
    let redriven = crate::support::topic::NewRecord {
        headers: vec![("sundown-redrive-actions".into(), b"notify,gone".to_vec())],
        ..ending.record()
    };
    installation
        .kafka
        .produce(&installation.topic(), [redriven]);
    let handler = installation.start_calling(&receiver, "initialBackoff: 10ms, maxBackoff: 200ms");
    let letters = installation.wait_for_dead_letters(1);
    assert_eq!(
        letters[0].header("sundown-dlq-pending-actions"),
        Some("gone")
    );
    down.store(false, SeqCst);
    installation.wait_until_drained();
    assert_eq!(receiver.accepted(), once(&[ending]));
    assert_eq!(installation.dead_letters().len(), 1);
    stop(handler);
}
