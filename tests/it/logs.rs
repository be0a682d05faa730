//! Logs of processes that no broker answers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::model::millis;
use crate::support::process::Launch;
use crate::support::role::RoleProcess;
use crate::support::wait::eventually;

/// Longer than repeated lines of a cause are left out.
const LONG: Duration = Duration::from_secs(120);
/// In milliseconds. Of each cause, no more than three lines are written in it.
const MINUTE: i64 = 60_000;
/// Nothing listens on these ports.
const NO_BROKERS: [&str; 2] = ["-b", "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3"];

/// When lines of each cause were written, in epoch milliseconds. A cause is all fields but the time,
/// without digits.
fn causes(log: &str) -> BTreeMap<String, Vec<i64>> {
    let mut causes = BTreeMap::<_, Vec<i64>>::new();
    for line in log.lines() {
        let mut entry: Map<String, Value> = serde_json::from_str(line).expect("JSON");
        let at = entry.remove("timestamp").expect("a time");
        entry.remove("repeated");
        let mut text = Value::from(entry).to_string();
        text.retain(|letter| !letter.is_ascii_digit());
        let at = millis(at.as_str().expect("text"));
        causes.entry(text).or_default().push(at);
    }
    causes
}

#[test]
fn without_brokers_a_process_writes_few_lines() {
    let kafka = Kafka::own(1);
    let installation = Installation::new(&kafka, SHORT);
    let console = ["console", "--listen", "127.0.0.1:0"];
    let running = [&["tracker"][..], &["handler"], &console];
    let running = running.map(|role| RoleProcess::start(installation.sundown(role)));
    running.iter().for_each(RoleProcess::await_ready);
    let before = running.each_ref().map(|role| role.log().lines().count());
    kafka.kill(1);
    let starting = [&["tracker"][..], &["handler"], &console]
        .map(|role| RoleProcess::start(Launch::sundown().args(role).args(NO_BROKERS)));

    let all = running.into_iter().zip(before);
    for (role, before) in all.chain(starting.into_iter().zip([0; 3])) {
        // The next line of a cause after half a minute counts those that were left out.
        let log = eventually(LONG, "a line with a count", || {
            let log = role.log();
            let lines: Vec<_> = log.lines().skip(before).collect();
            let log = lines.join("\n");
            log.contains("\"repeated\":").then_some(log)
        });
        for (cause, times) in causes(&log) {
            // How long it was observed depends on the roles before this one.
            let is_rare = |four: &[i64]| four[3] - four[0] >= MINUTE;
            assert!(times.windows(4).all(is_rare), "{times:?} {cause}: {log}");
        }
        role.kill();
    }
}
