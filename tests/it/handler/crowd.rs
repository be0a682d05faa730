//! All users logged out at once.

use std::fs;
use std::time::Duration;

use super::{Ending, Installation, once, stop};
use crate::receiver::{Receiver, Response};
use crate::support::process::Process;
use crate::support::wait::eventually;

const ENDINGS: usize = 50_000;
/// On a machine that does much else.
const LONG: Duration = Duration::from_secs(300);
/// A debug build with 1,024 events in flight stays far below it; one that took everything
/// in at once, its tasks and lanes included, does not.
const MEMORY_KIB: u64 = 160 * 1024;

/// The most memory that the process has had.
fn peak_kib(process: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let words = line.unwrap().split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

#[test]
fn a_mass_logout_drains_in_bounded_memory() {
    let installation = Installation::new(3);
    let receiver = Receiver::start(|_| Response::Status(200));
    let endings: Vec<_> = (0..ENDINGS)
        .map(|user| Ending::of(&format!("user {user}")))
        .collect();
    installation.write(&endings);
    let handler = installation.start_calling(&receiver, "");
    eventually(LONG, "all calls", || {
        (receiver.count() >= ENDINGS).then_some(())
    });
    installation.wait_until_drained();
    let peak = peak_kib(&handler);
    assert!(receiver.accepted() == once(&endings), "each once");
    assert!(peak < MEMORY_KIB, "{peak} KiB");
    stop(handler);
}
