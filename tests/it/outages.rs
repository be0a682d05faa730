//! Processes whose brokers are gone.

use std::time::Duration;

use crate::ingest::AccessLog;
use crate::monitoring::apiserver::ApiServer;
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::role::RoleProcess;
use crate::support::wait::eventually;

/// Longer than brokers may be gone before a process is not ready.
const LONG: Duration = Duration::from_secs(180);

#[test]
fn a_running_process_without_brokers_is_not_ready_until_they_are_back() {
    let kafka = Kafka::own(1);
    let installation = Installation::with_partitions(&kafka, SHORT, 1);
    let log = AccessLog::with_partitions(&installation, 1);
    let api = ApiServer::start("outages");
    let roles = [
        &["tracker"][..],
        &["handler"],
        // It has no partition.
        &["handler"],
        &[
            "handler",
            "--group",
            "other",
            "--group-protocol",
            "consumer",
        ],
        &["ingest", "--sources", log.path()],
        &["console", "--listen", "127.0.0.1:0"],
        &["controller"],
    ];
    let roles = roles.map(|args| {
        let launch = installation.sundown(args);
        let role = RoleProcess::start(launch.env("KUBECONFIG", api.kubeconfig()));
        role.await_ready();
        (args, role)
    });
    kafka.kill(1);
    for (args, role) in &roles {
        eventually(LONG, &format!("{args:?} to be not ready"), || {
            (role.readiness()["ok"] == false).then_some(())
        });
    }
    kafka.start(1);
    for (_, role) in roles {
        role.await_ready();
        role.stop();
    }
}
