//! The Kafka cluster of the demo: embedded or existing.

use std::mem::ManuallyDrop;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::access_log;
use crate::kafka::args::GlobalArgs;
use crate::kafka::topics::{Layout, TopicAdmin, TopicSpec, catalogue, plan};

/// The default prefix of names on an existing cluster, so that the demo never touches the
/// topics of another installation.
const PREFIX: &str = "demo-";

/// The Kafka cluster with the demo's topics.
pub(super) struct DemoCluster {
    pub(super) global: GlobalArgs,
    /// Partitions of the topic of session events.
    pub(super) partitions: i32,
    /// Keeps the embedded broker alive until the process exits, because threads of the roles
    /// may use it until then.
    embedded: Option<ManuallyDrop<MockCluster<'static, DefaultProducerContext>>>,
}

impl DemoCluster {
    /// Creates the topics on the cluster that the flags name, or on a new embedded broker.
    pub(super) async fn start(global: &GlobalArgs, layout: Layout) -> anyhow::Result<Self> {
        if global.connection.bootstrap_servers.is_some() {
            existing(global, layout).await
        } else {
            embedded(global, layout)
        }
    }

    /// Whether the broker runs in this process and loses its records at exit.
    pub(super) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Returns the flags of roles for the guarantees that the brokers can give.
    pub(super) fn guarantees(&self) -> &'static str {
        if self.is_embedded() {
            // The embedded broker supports neither transactions nor classic groups with several
            // members.
            "--delivery at-least-once --group-protocol consumer"
        } else {
            "--delivery exactly-once"
        }
    }

    /// Returns the flags for other processes to connect to this cluster.
    pub(super) fn flags(&self) -> String {
        let bootstrap = self.global.connection.bootstrap_servers();
        match self.global.topics.topic_prefix.as_str() {
            "" => format!("-b {bootstrap}"),
            prefix => format!("-b {bootstrap} --topic-prefix {prefix}"),
        }
    }
}

async fn existing(global: &GlobalArgs, layout: Layout) -> anyhow::Result<DemoCluster> {
    let global = with_prefix(global);
    let topics = global.topics.topics();
    let admin = TopicAdmin::new(&global.connection.client_config()?)?;
    let mut names = topics.all().to_vec();
    let website = access_log::topic(&global.topics.topic_prefix);
    names.push(&website);
    let existing = admin.existing(&names).await?;
    let layout = Layout::beside(&existing, &topics, Some(layout.partitions));
    let steps = plan(specs(&global, layout), &existing, None);
    let missing: Vec<_> = steps
        .iter()
        .filter(|step| !existing.contains_key(&step.spec.name))
        .map(|step| &step.spec)
        .collect();
    admin.create(&missing, -1).await?;
    Ok(DemoCluster {
        global,
        partitions: layout.checkpoint,
        embedded: None,
    })
}

/// The topics of the installation, and that of the website.
fn specs(global: &GlobalArgs, layout: Layout) -> Vec<TopicSpec> {
    let mut specs = catalogue(&global.topics.topics(), layout);
    specs.push(TopicSpec {
        name: access_log::topic(&global.topics.topic_prefix),
        partitions: access_log::PARTITIONS,
        configs: Vec::new(),
    });
    specs
}

/// Adds [`PREFIX`] unless the flags set a prefix.
fn with_prefix(global: &GlobalArgs) -> GlobalArgs {
    let mut global = global.clone();
    if global.topics.topic_prefix.is_empty() {
        PREFIX.clone_into(&mut global.topics.topic_prefix);
    }
    global
}

/// Starts librdkafka's mock broker: in memory, on loopback. It supports groups and idempotent
/// producers; its transactions guarantee nothing.
fn embedded(global: &GlobalArgs, layout: Layout) -> anyhow::Result<DemoCluster> {
    let cluster = MockCluster::new(1)?;
    for topic in specs(global, layout) {
        cluster.create_topic(&topic.name, topic.partitions, 1)?;
    }
    let mut global = global.clone();
    global.connection.bootstrap_servers = Some(cluster.bootstrap_servers());
    // The mock broker responds to a fetch after the wait only, not as soon as records arrive.
    let fetch_wait = ("fetch.wait.max.ms".to_owned(), "50".to_owned());
    global.connection.properties.insert(0, fetch_wait);
    Ok(DemoCluster {
        global,
        partitions: layout.partitions,
        embedded: Some(ManuallyDrop::new(cluster)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    #[test]
    fn all_names_on_an_existing_cluster_have_a_prefix() {
        for (flags, prefix) in [
            (["demo", "-b", "kafka:9092"].as_slice(), "demo-"),
            (&["demo", "--topic-prefix", "mine-"], "mine-"),
        ] {
            let flags = ["sundown"].iter().chain(flags);
            let global = with_prefix(&Cli::parse_from(flags).global);
            let names = global.topics.topics();
            assert!(names.all().iter().all(|name| name.starts_with(prefix)));
            assert!(
                global
                    .topics
                    .prefixed("sundown-tracker")
                    .starts_with(prefix)
            );
        }
    }
}
