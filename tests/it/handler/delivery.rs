//! Delivered calls, their order, and committed offsets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sundown::clock::Clock;

use super::{Ending, Installation, SECRET, SOON, once, stop, webhook};
use crate::receiver::{Call, Receiver, Response};
use crate::support::process::{Launch, Process, Stream};
use crate::support::wait::eventually;

/// Verifies a call as the documentation asks receivers to.
fn verify(call: &Call, secret: &str) {
    let header = |name: &str| call.headers[name].to_str().unwrap();
    let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
    assert_eq!(id, format!("ending_{}", call.key));
    let code = header("webhook-signature").strip_prefix("v1,").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{id}.{time}.").as_bytes());
    mac.update(&call.body);
    let code = BASE64_STANDARD.decode(code).unwrap();
    mac.verify_slice(&code).expect("the signature is right");
    let now = Clock::default().wall().as_millis() / 1000;
    let age = now - time.parse::<i64>().unwrap();
    assert!((0..60).contains(&age), "signed {age} s ago");
}

#[test]
fn committed_endings_reach_the_webhook_as_they_are_and_leave_no_lag() {
    let installation = Installation::new(3);
    let receiver = Receiver::start(|_| Response::Status(204));
    let endings: Vec<_> = (0..5)
        .map(|user| Ending::of(&format!("user {user}")))
        .collect();
    installation.write_aborted(&[Ending::of("aborted")]);
    installation.write(&endings);
    installation.write_aborted(&[Ending::of("aborted too")]);

    let handler = installation.start_calling(&receiver, "");
    let calls = receiver.wait_for(SOON, endings.len());
    installation.wait_until_drained();
    assert_eq!(receiver.accepted(), once(&endings));
    for ending in &endings {
        let call = calls.iter().find(|call| call.key == ending.id).unwrap();
        assert_eq!(call.body, ending.bytes);
        assert_eq!(call.headers["content-type"], "application/json");
        verify(call, SECRET);
    }
    stop(handler);

    // Started again, it has nothing to do: the only call is that of the new ending.
    let another = Ending::of("latecomer");
    installation.write(std::slice::from_ref(&another));
    let handler = installation.start_calling(&receiver, "");
    let calls = receiver.wait_for(SOON, endings.len() + 1);
    assert_eq!(calls.last().unwrap().key, another.id);
    installation.wait_until_drained();
    stop(handler);
}

#[test]
fn a_policy_chooses_among_the_actions() {
    let installation = Installation::new(1);
    let [chosen, other] = [(); 2].map(|()| Receiver::start(|_| Response::Status(200)));
    let policy = installation.files.path().join("policy.yaml");
    let text = "apiVersion: sundown.dev/v1alpha1\nkind: SessionPolicy\n\
                metadata: {name: default}\nspec: {idleTimeout: 1h, actions: [chosen]}\n";
    std::fs::write(&policy, text).unwrap();
    // A topic that has just been made is not known everywhere at once.
    eventually(SOON, "the policy to be applied", || {
        let mut apply = Launch::sundown()
            .args(["policy", "apply", "-b", installation.kafka.bootstrap()])
            .args(["--topic-prefix", &installation.prefix, "-f"])
            .arg(&policy)
            .start();
        apply.wait(SOON).success().then_some(())
    });
    let ending = Ending::of("user");
    installation.write(std::slice::from_ref(&ending));
    let actions = webhook("other", &other.url()) + &webhook("chosen", &chosen.url());
    let handler = installation.start(&actions, "");
    installation.wait_until_drained();
    assert_eq!(chosen.accepted(), once(&[ending]));
    assert_eq!(other.calls().len(), 0);
    stop(handler);
}

#[test]
fn a_users_endings_keep_their_order_and_do_not_delay_others() {
    let installation = Installation::new(1);
    let slow: Vec<_> = (0..3).map(|_| Ending::of("slow")).collect();
    let quick = Ending::of("quick");
    // The slow user's first ending fails until the quick user's only one has come through.
    let receiver = Receiver::start({
        let (first, quick) = (slow[0].id.clone(), quick.id.clone());
        let quick_came = AtomicBool::new(false);
        move |call| {
            if call.key == quick {
                quick_came.store(true, SeqCst);
            }
            let fail = call.key == first && !quick_came.load(SeqCst);
            Response::Status(if fail { 503 } else { 200 })
        }
    });
    let order = [&slow[..], std::slice::from_ref(&quick)].concat();
    installation.write(&order);
    let handler = installation.start_calling(&receiver, "attempts: 1000");
    installation.wait_until_drained();

    let mut keys: Vec<_> = receiver.calls().into_iter().map(|call| call.key).collect();
    keys.dedup();
    keys.retain(|key| *key != quick.id);
    keys.dedup();
    let expected: Vec<_> = slow.iter().map(|ending| ending.id.clone()).collect();
    assert_eq!(keys, expected);
    assert_eq!(receiver.accepted(), once(&order));
    stop(handler);
}

#[test]
fn the_log_shows_what_ended_and_ids_only_on_request() {
    let installation = Installation::new(1);
    let ending = Ending::of("the user");
    installation.write(std::slice::from_ref(&ending));
    let ended = |handler: &Process| -> serde_json::Value {
        let line = handler.wait_for_line(SOON, |line| line.text.contains("session ended"));
        serde_json::from_str(&line.text).unwrap()
    };
    let mut handler = installation.launch_without_actions().start();
    let line = ended(&handler);
    assert_eq!(line["event_id"], ending.id.as_str());
    assert_eq!(line["reason"], "idle_timeout");
    assert_eq!(line["session"], "(redacted)");
    installation.wait_until_drained();
    handler.sigterm();
    assert!(handler.wait(SOON).success());
    let said = handler.text(Stream::Stderr);
    assert!(
        !said.contains(&ending.session) && !said.contains("the user"),
        "{said}"
    );

    installation.write(std::slice::from_ref(&ending));
    let handler = installation.start("  - {name: audit, type: log, showIds: true}\n", "");
    let line = ended(&handler);
    assert_eq!(line["action"], "audit");
    assert_eq!(line["session"], ending.session.as_str());
    assert_eq!(line["user"], "\"the user\"");
    stop(handler);
}

#[test]
fn a_jam_pauses_reading_and_everything_comes_through_once_it_is_over() {
    let installation = Installation::new(2);
    let open = Arc::new(AtomicBool::new(false));
    let receiver = Receiver::start({
        let open = Arc::clone(&open);
        move |_| Response::Status(if open.load(SeqCst) { 200 } else { 503 })
    });
    let endings: Vec<_> = (0..60)
        .map(|user| Ending::of(&format!("user {user}")))
        .collect();
    installation.write(&endings);
    let retry = "attempts: 1000, initialBackoff: 10ms, maxBackoff: 50ms";
    // Sixteen events fill it.
    let handler = installation
        .launch(&webhook("notify", &receiver.url()), retry)
        .args(["--concurrency", "1", "--log", "info,sundown=debug"])
        .start();
    handler.wait_for_line(SOON, |line| line.text.contains("\"paused: "));
    let mut keys: Vec<_> = receiver.calls().into_iter().map(|call| call.key).collect();
    keys.sort();
    keys.dedup();
    assert!(keys.len() <= 16, "{} events were taken", keys.len());

    open.store(true, SeqCst);
    handler.wait_for_line(SOON, |line| line.text.contains("\"resumed\""));
    installation.wait_until_drained();
    assert_eq!(receiver.accepted(), once(&endings));
    stop(handler);
}
