//! Chaos: what `tests/simulation/` does to a simulated Kafka, done to a real one, with real
//! processes and a real network between them.
//!
//! Three brokers, up to five trackers, and users who act all the time. Trackers are killed, frozen,
//! sent away, given wrong clocks; brokers are killed and frozen; connections between the two are
//! cut, held up and slowed down, several of these at once, as a schedule has it that follows from a
//! seed. In the end all is well again, and what has come out is compared with what the reference
//! model reads from the log. `docs/testing.md` tells more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test that cannot go on panics, and says what it saw"
)]
#![allow(unreachable_pub, reason = "support modules read like a library's")]

mod broker_lane;
mod journal;
mod network;
mod network_lane;
mod run;
mod schedule;
mod seat;
mod settings;
mod site;

macro_rules! shared {
    ($($path:literal $name:ident),* $(,)?) => {$(
        #[allow(dead_code, reason = "the other tests need more of it")]
        #[path = $path]
        mod $name;
    )*};
}

shared! {
    "../it/eventually.rs" eventually,
    "../it/pipeline/faketime.rs" faketime,
    "../it/group.rs" group,
    "../it/pipeline/installation.rs" installation,
    "../it/kafka.rs" kafka,
    "../it/pipeline/model.rs" model,
    "../it/pipeline/population.rs" population,
    "../it/process.rs" process,
    "../it/topic.rs" topic,
    "../it/pipeline/tracker.rs" tracker,
    "../it/writer.rs" writer,
}

use kafka::Kafka;
use network::Network;
use settings::Settings;

/// Of the cluster.
const BROKERS: u8 = 3;

#[test]
fn every_session_ends_once_and_none_too_early_whatever_goes_wrong() {
    let settings = Settings::from_environment();
    let network = Network::new(BROKERS);
    let options = [
        "--detour",
        &network.ports(),
        // Members that are gone make room soon, as those of the other protocol do.
        "--set",
        "group.consumer.session.timeout.ms=3000",
        "--set",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
    ];
    let kafka = Kafka::own_with(BROKERS, std::process::id(), &options.map(str::to_owned));
    network.lead_to(&kafka);
    for protocol in ["classic", "consumer"] {
        run::run(&kafka, &network, &settings, protocol);
    }
}
