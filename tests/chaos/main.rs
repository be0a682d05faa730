//! Chaos test: trackers, ingest, clocks, brokers and the network fail on a real Kafka with real processes.
//!
//! Three brokers, up to five trackers, two ingest processes and continuously active users. Processes are
//! killed, frozen, stopped and given wrong clocks; brokers are killed, frozen and cut off from each other; connections are
//! cut, silenced and slowed. Faults overlap; their schedule derives from a seed. After the last fault the terminal
//! events are compared with those of the reference model for the same log. See `docs/explanation/testing.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed test panics with what it observed"
)]
#![allow(
    unreachable_pub,
    reason = "support modules are written like library modules"
)]

mod broker_faults;
mod deployment;
mod journal;
mod lost_state;
mod member;
mod network_faults;
mod networks;
mod producers;
mod run;
mod schedule;
mod settings;
mod website;

#[path = "../support/mod.rs"]
mod support;

use networks::Networks;
use settings::Settings;
use support::kafka::{Kafka, new_dir};

const BROKERS: u8 = 3;

#[test]
fn every_session_ends_exactly_once_and_never_early_under_faults() {
    let settings = Settings::from_environment();
    let dir = new_dir();
    let networks = Networks::new(&dir);
    let settings_of_brokers = [
        // Vanished members are removed as soon as under the classic protocol.
        "--set",
        "group.consumer.session.timeout.ms=3000",
        "--set",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
    ];
    let mut options = networks.options();
    options.extend(settings_of_brokers.map(str::to_owned));
    let kafka = Kafka::own_in(dir, BROKERS, std::process::id(), &options);
    for protocol in ["classic", "consumer"] {
        run::run(&kafka, &networks, &settings, protocol);
    }
}
