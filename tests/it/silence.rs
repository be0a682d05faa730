//! Connections on which nothing arrives any more, while brokers answer new ones.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;
use sundown::clock::Clock;

use crate::console::Console;
use crate::ingest::AccessLog;
use crate::monitoring::apiserver::ApiServer;
use crate::proxy::Proxy;
use crate::support::installation::{Installation, SHORT};
use crate::support::process::Launch;
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

/// Longer than a client without an answer is kept.
const LONG: Duration = Duration::from_secs(150);
/// Without it, librdkafka closes a connection without answers by itself.
const PATIENT: [&str; 2] = ["-X", "socket.timeout.ms=300000"];
/// The end of a group member that is to be replaced with its process.
const SILENT: &str = "no broker has answered the consumer";

fn start(installation: &Installation<'_>, role: &str) -> RoleProcess {
    start_launch(installation.sundown(&[role]))
}

fn start_launch(launch: Launch) -> RoleProcess {
    // A socket timeout may not be longer than that of transactions.
    let transactions = ["-X", "transaction.timeout.ms=300000"];
    let role = RoleProcess::start(launch.args(PATIENT).args(transactions));
    role.await_ready();
    role
}

fn end_session(installation: &Installation<'_>) -> String {
    let session = installation.key_on(0);
    let now = Clock::default().wall().as_millis();
    let event =
        json!({"user_id": 1, "session_id": session, "activity_timestamp": now, "event": "logout"});
    let logs = installation.session_logs();
    let event = NewRecord::new(session.as_str(), event.to_string());
    installation.kafka.produce(&logs, [event]);
    session
}

#[test]
fn clients_without_an_answer_are_replaced_while_brokers_answer_others() {
    let proxy = Proxy::new(Ipv4Addr::LOCALHOST);
    let (_kafka, proxied) = proxy.broker();
    let installation = Installation::with_partitions(&proxied, SHORT, 1);
    let roles = ["tracker", "handler"].map(|role| start(&installation, role));
    let console = Console::start(&installation, &PATIENT);
    console.await_terminal_event(&end_session(&installation));

    proxy.silence();
    // The consumers of trackers and handlers end with their processes, which are started again.
    for mut role in roles {
        assert!(!role.process.wait(LONG).success());
        assert!(role.log().contains(SILENT), "{}", role.log());
    }
    let roles = ["tracker", "handler"].map(|role| start(&installation, role));
    let session = end_session(&installation);
    // The console's readers go on in its process.
    eventually(LONG, "the terminal event in the console", || {
        let events = console.client.json("/api/v1/terminal-events").to_string();
        events.contains(&session).then_some(())
    });
    let trackers = roles[0].log();
    assert!(!trackers.contains(SILENT), "{trackers}");
    for role in roles {
        role.stop();
    }
}

#[test]
fn ingest_and_the_controller_replace_clients_in_their_processes() {
    let proxy = Proxy::new(Ipv4Addr::LOCALHOST);
    let (_kafka, proxied) = proxy.broker();
    let installation = Installation::with_partitions(&proxied, SHORT, 1);
    let log = AccessLog::with_partitions(&installation, 1);
    let ingest = start_launch(installation.sundown(&["ingest", "--sources", log.path()]));
    let api = ApiServer::start("silence");
    let controller = installation.sundown(&["controller"]);
    let controller = start_launch(controller.env("KUBECONFIG", api.kubeconfig()));
    let await_both = |session: &str, policy: &str| {
        log.write(&[session]);
        api.apply(policy, &json!({"idleTimeout": "1h"}));
        let is_there = |topic: &str, text: &str| {
            let values = installation.read(topic).into_iter();
            let mut values = values.filter_map(|record| record.value);
            values.any(|value| String::from_utf8_lossy(&value).contains(text))
        };
        eventually(LONG, "the event and the policy", || {
            (is_there("session_logs", session) && is_there("sundown.policies", policy))
                .then_some(())
        });
    };
    await_both("session-before", "policy-before");

    proxy.silence();
    await_both("session-after", "policy-after");
    for role in [ingest, controller] {
        role.await_ready();
        role.stop();
    }
}
