//! Consumer lag in records instead of offsets.

use serde_json::json;

use super::cluster::{Cluster, SOON};
use super::deployment::Deployment;
use crate::support::topic::NewRecord;
use crate::support::wait::eventually;

pub fn lag_is_that_of_real_records(cluster: &Cluster) {
    let deployment = Deployment::new(cluster);
    let kafka = deployment.installation.kafka;
    let endings = deployment.installation.topic("expired_sessions");
    let group = deployment.installation.topic("sundown-handler");
    // Partition 0 ends in markers and an aborted record, partition 1 in a real one.
    let record = |partition: i32| NewRecord {
        partition: Some(partition),
        timestamp: Some(1_000),
        ..NewRecord::new("session", json!({}).to_string())
    };
    let writer = kafka.transactional_writer(&deployment.installation.topic("upstream"));
    writer.begin();
    writer.write(&endings, [record(0), record(1)]);
    writer.commit();
    writer.begin();
    writer.write(&endings, [record(0)]);
    writer.abort();
    kafka.commit(&group, &endings, &[(0, 1), (1, 0)]);

    let controller = deployment.controller();
    let lag = |of: &str, partition: i32| {
        let name = format!("kafka_consumergroup_lag{of}{{");
        let labels = format!("consumergroup=\"{group}\",partition=\"{partition}\"");
        controller.value(&name, &labels)
    };
    eventually(SOON, "lag of partition 1 alone", || {
        let expected = [Some(0.0), Some(2.0), Some(0.0)];
        ([0, 1, 2].map(|partition| lag("", partition)) == expected).then_some(())
    });
    assert_eq!(lag("_seconds", 0), Some(0.0));
    // The record is of 1970.
    assert!(lag("_seconds", 1).is_some_and(|seconds| seconds > 1e9));
    kafka.commit(&group, &endings, &[(1, 1)]);
    eventually(SOON, "no lag", || {
        (lag("", 1) == Some(0.0) && lag("_seconds", 1) == Some(0.0)).then_some(())
    });
    // A handler reports an action: the lag of its group is measured too.
    let action_group = format!("{group}.notify");
    kafka.commit(&action_group, &endings, &[(0, 1), (1, 0)]);
    let report = json!({
        "v": 1, "id": "handler-1", "role": "handler", "version": "0", "host": "h", "pid": 1,
        "started_at": "", "reported_at": "", "state": "running", "not_ready": {},
        "assignments": [],
        "actions": [{
            "action": "notify", "trigger": "ending", "group": action_group, "partitions": 3,
            "backlog": 2,
        }],
    });
    let processes = deployment.installation.topic("sundown.processes");
    kafka.produce(
        &processes,
        [NewRecord::new("handler-1", report.to_string())],
    );
    let labels = format!("consumergroup=\"{action_group}\",partition=\"1\"");
    eventually(SOON, "lag of the action", || {
        (controller.value("kafka_consumergroup_lag{", &labels) == Some(2.0)).then_some(())
    });
    // The trackers' group has committed nothing: it has all before it.
    let logs = deployment.installation.session_logs();
    kafka.produce(
        &logs,
        [NewRecord {
            partition: Some(2),
            ..NewRecord::new("a", "{}")
        }],
    );
    let group = deployment.installation.group();
    let labels = format!("consumergroup=\"{group}\",partition=\"2\"");
    eventually(SOON, "lag of the trackers", || {
        (controller.value("kafka_consumergroup_lag{", &labels) == Some(1.0)).then_some(())
    });
    controller.stop();
}
