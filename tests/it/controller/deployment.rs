//! A namespace and topics of one test, and controllers for them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cluster::{Cluster, SOON, TestNamespace};
use crate::support::installation::{Installation, SHORT};
use crate::support::kafka::Kafka;
use crate::support::process::Launch;
use crate::support::role::RoleProcess;
use crate::support::topic::Record;
use crate::support::wait::eventually;

pub struct Deployment<'a> {
    pub namespace: TestNamespace<'a>,
    pub installation: Installation<'a>,
}

impl<'a> Deployment<'a> {
    pub fn new(cluster: &'a Cluster) -> Self {
        Self::on(cluster, Kafka::shared())
    }

    pub fn on(cluster: &'a Cluster, kafka: &'a Kafka) -> Self {
        Self {
            namespace: cluster.namespace(),
            installation: Installation::new(kafka, SHORT),
        }
    }

    /// Starts a controller with the rights of the kubeconfig.
    pub fn controller(&self) -> RoleProcess {
        RoleProcess::start(
            self.launch()
                .env("KUBECONFIG", &self.namespace.cluster.kubeconfig),
        )
    }

    /// A controller's command line, without a way to the API server.
    pub fn launch(&self) -> Launch {
        let namespace = self.namespace.name.as_str();
        let launch = self.installation.sundown(&["controller"]);
        launch
            .args(["--namespace", namespace, "--lease-namespace", namespace])
            .args(["--lease-duration", "5s", "--lag-interval", "1s"])
    }

    /// All records of the policy topic.
    pub fn records(&self) -> Vec<Record> {
        self.installation.read("sundown.policies")
    }

    /// What the policy topic comes to: the last value of each key that has one.
    pub fn published(&self) -> BTreeMap<String, Value> {
        let mut published = BTreeMap::new();
        for record in self.records() {
            let key = record.key.clone().expect("a key");
            let key = String::from_utf8(key).expect("a text");
            match record.value {
                Some(_) => published.insert(key, record.json()),
                None => published.remove(&key),
            };
        }
        published
    }

    pub fn await_records(&self, count: usize) {
        eventually(SOON, &format!("{count} records"), || {
            (self.records().len() >= count).then_some(())
        });
    }
}
