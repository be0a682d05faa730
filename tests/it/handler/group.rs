//! Handlers that join, leave and crash.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Ending, Installation, SOON, once, stop, webhook};
use crate::receiver::{Receiver, Response};
use crate::support::wait::eventually;

fn crowd(size: usize) -> Vec<Ending> {
    (0..size)
        .map(|user| Ending::of(&format!("user {user}")))
        .collect()
}

#[test]
fn a_handler_killed_mid_flight_loses_nothing() {
    let installation = Installation::new(3);
    let endings = crowd(300);
    // Answers 100 calls, then leaves 50 hanging; later calls are answered.
    let receiver = Receiver::start({
        let calls = AtomicUsize::new(0);
        move |_| match calls.fetch_add(1, Ordering::SeqCst) {
            100..150 => Response::Silence,
            _ => Response::Status(200),
        }
    });
    installation.write(&endings);
    // It waits for those for ever, and commits what lies before them.
    let patient = webhook("notify", &receiver.url()).replace("timeout: 2s", "timeout: 1h");
    let mut first = installation.start(&patient, "");
    receiver.wait_for(SOON, 150);
    eventually(SOON, "a commit", || installation.committed());
    first.sigkill();
    let second = installation.start_calling(&receiver, "");
    let ids: Vec<_> = once(&endings).into_keys().collect();
    eventually(SOON, "every ending to be accepted", || {
        let accepted: Vec<_> = receiver.accepted().into_keys().collect();
        (accepted == ids).then_some(())
    });
    installation.wait_until_drained();
    assert_eq!(installation.dead_letters(), []);
    stop(second);
}

#[test]
fn partitions_that_change_hands_in_peace_are_handled_once() {
    let installation = Installation::new(3);
    // Slow enough that there is always something under way.
    let receiver = Receiver::start(|_| Response::After(Duration::from_millis(500)));
    let first = installation.start_calling(&receiver, "");
    let mut written = Vec::new();
    let mut write = |size| {
        let endings = crowd(size);
        installation.write(&endings);
        written.extend(endings);
        written.clone()
    };
    write(800);
    receiver.wait_for(SOON, 50);
    let second = installation.start_calling(&receiver, "");
    second.wait_for_line(SOON, |line| {
        line.text.contains("\"assigned\"") && !line.text.contains("\"partitions\":\"[]\"")
    });
    write(400);
    receiver.wait_for(SOON, 900);
    stop(first);
    let all = write(200);
    eventually(SOON, "every ending to be accepted", || {
        (receiver.accepted().len() == all.len()).then_some(())
    });
    installation.wait_until_drained();
    let repeated: BTreeMap<_, _> = receiver
        .accepted()
        .into_iter()
        .filter(|(_, n)| *n > 1)
        .collect();
    assert_eq!(repeated, BTreeMap::new());
    stop(second);
}
