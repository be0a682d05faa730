//! Targets that fail for all events, and events that fail at every target.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::{Ending, Installation, SOON, once, stop};
use crate::receiver::{Receiver, Response};

const BRISK: &str = "initialBackoff: 1ms, maxBackoff: 10ms";

#[test]
fn a_receiver_that_fails_for_all_events_costs_no_event_its_attempts() {
    let installation = Installation::new(2);
    let up = Arc::new(AtomicBool::new(false));
    let receiver = Receiver::start({
        let up = Arc::clone(&up);
        move |_| Response::Status(if up.load(SeqCst) { 200 } else { 503 })
    });
    let endings: Vec<_> = (0..20)
        .map(|user| Ending::of(&format!("user {user}")))
        .collect();
    installation.write(&endings);
    let handler = installation.start_calling(&receiver, BRISK);
    handler.wait_for_line(SOON, |line| line.text.contains("circuit open"));
    // More than eight attempts each.
    receiver.wait_for(SOON, 8 * endings.len() + 1);
    assert_eq!(installation.dead_letters(), []);

    up.store(true, SeqCst);
    handler.wait_for_line(SOON, |line| line.text.contains("circuit closed"));
    installation.wait_until_drained();
    assert_eq!(receiver.accepted(), once(&endings));
    assert_eq!(installation.dead_letters(), []);
    stop(handler);
}

#[test]
fn an_event_that_is_always_refused_is_dead_lettered_once_others_show_that_the_target_works() {
    let installation = Installation::new(1);
    let poison = Ending::of("poison");
    let receiver = Receiver::start({
        let poison = poison.id.clone();
        move |call| Response::Status(if call.key == poison { 500 } else { 200 })
    });
    installation.write(std::slice::from_ref(&poison));
    let handler = installation.start_calling(&receiver, BRISK);
    handler.wait_for_line(SOON, |line| line.text.contains("circuit open"));
    assert_eq!(installation.dead_letters(), []);

    let others: Vec<_> = (0..3).map(|user| Ending::of(&user.to_string())).collect();
    installation.write(&others);
    let letters = installation.wait_for_dead_letters(1);
    installation.wait_until_drained();
    assert_eq!(letters[0].value, Some(poison.bytes));
    assert_eq!(letters[0].header("sundown-dlq-reason"), Some("exhausted"));
    assert_eq!(receiver.accepted(), once(&others));
    stop(handler);
}
