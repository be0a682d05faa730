//! An installation whose network is IPv6 alone.

use std::net::Ipv6Addr;

use serde_json::json;

use crate::proxy::Proxy;
use crate::support::installation::{Installation, SHORT, SOON};
use crate::support::process::Stream;
use crate::support::role::RoleProcess;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

const LISTEN: [&str; 2] = ["--admin-listen", "[::1]:0"];
const LONG: [&str; 4] = ["--idle-timeout", "1h", "--absolute-timeout", "2h"];

#[test]
fn over_ipv6_sessions_end_and_trackers_are_asked() {
    // Clients have no other address of the broker.
    let proxy = Proxy::new(Ipv6Addr::LOCALHOST);
    let (_kafka, kafka) = proxy.broker();
    assert!(kafka.bootstrap().starts_with("[::1]:"));
    let installation = Installation::with_partitions(&kafka, SHORT, 1);
    let tracker = installation.tracker(&[&LISTEN[..], &LONG].concat());
    tracker.await_ready();
    assert!(tracker.admin().starts_with("[::1]:"), "{}", tracker.admin());
    let handler = RoleProcess::start(installation.sundown(&["handler"]).args(LISTEN));
    handler.await_ready();
    let event = |session: &str, kind: &str| {
        let event = json!({"user_id": 1, "session_id": session, "event": kind});
        NewRecord::new(session, event.to_string())
    };
    let logs = installation.session_logs();
    let events = [
        event("over", "activity"),
        event("over", "logout"),
        event("stays", "activity"),
    ];
    installation.kafka.produce(&logs, events);
    eventually(SOON, "the ending", || {
        let endings = installation.endings();
        endings
            .iter()
            .any(|one| one.session == "over")
            .then_some(())
    });
    eventually(SOON, "the answer of the tracker", || {
        let mut get = installation.sundown(&["sessions", "get", "stays"]).start();
        get.wait(SOON);
        get.text(Stream::Stdout).contains("stays").then_some(())
    });
    handler.stop();
    tracker.stop();
}
