//! Logs of processes that no broker answers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::ingest::AccessLog;
use crate::monitoring::apiserver::ApiServer;
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::model::millis;
use crate::support::process::Launch;
use crate::support::role::RoleProcess;
use crate::support::wait::eventually;

/// Enough for the first and the last line of a minute on a busy machine.
const LONG: Duration = Duration::from_secs(240);
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
    let log = AccessLog::with_partitions(&installation, 1);
    let api = ApiServer::start("logs");
    let roles = [
        &["tracker"][..],
        &["handler"],
        &["console", "--listen", "127.0.0.1:0"],
        &["ingest", "--sources", log.path()],
        &["controller"],
    ];
    let start = |launch: Launch| RoleProcess::start(launch.env("KUBECONFIG", api.kubeconfig()));
    let running = roles.map(|role| start(installation.sundown(role)));
    running.iter().for_each(RoleProcess::await_ready);
    let before = running.each_ref().map(|role| role.log().lines().count());
    kafka.kill(1);
    let starting = roles.map(|role| start(Launch::sundown().args(role).args(NO_BROKERS)));

    let all = running.into_iter().zip(before);
    let mut counted = false;
    for (role, before) in all.chain(starting.into_iter().zip([0; 5])) {
        // How long it is observed depends on the roles before this one.
        let log = eventually(LONG, "lines of more than a minute", || {
            let log = role.log();
            let lines: Vec<_> = log.lines().skip(before).collect();
            let log = lines.join("\n");
            let times = causes(&log).into_values().flatten().collect::<Vec<_>>();
            let observed = times.iter().max()? - times.iter().min()?;
            (observed > MINUTE).then_some(log)
        });
        for (cause, times) in causes(&log) {
            let is_rare = |four: &[i64]| four[3] - four[0] >= MINUTE;
            assert!(times.windows(4).all(is_rare), "{times:?} {cause}: {log}");
        }
        counted |= log.contains("\"repeated\":");
        role.kill();
    }
    assert!(counted, "no line counts those that were left out before it");
}
