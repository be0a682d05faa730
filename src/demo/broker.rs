//! The Kafka of the demo: one inside the process, or one that is there already.

use std::mem::ManuallyDrop;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::kafka::args::GlobalArgs;
use crate::kafka::topics::{Layout, TopicAdmin, catalogue, plan};

/// Put before all names on a Kafka that others may use: the demo's trackers must never
/// come near real sessions.
const PREFIX: &str = "demo-";

/// Where the demo's topics are.
pub(super) struct Broker {
    /// How to reach it.
    pub(super) global: GlobalArgs,
    /// How many partitions the topic of session events has.
    pub(super) partitions: i32,
    /// Keeps the embedded broker alive for as long as the process lives: threads of the
    /// roles may talk to it to the last.
    embedded: Option<ManuallyDrop<MockCluster<'static, DefaultProducerContext>>>,
}

impl Broker {
    /// The Kafka that the flags name, or else one that is started here; with the topics.
    pub(super) async fn start(global: &GlobalArgs, layout: Layout) -> anyhow::Result<Self> {
        if global.connection.bootstrap_servers.is_some() {
            existing(global, layout).await
        } else {
            embedded(global, layout)
        }
    }

    /// Whether it ends with this process, and all that it holds with it.
    pub(super) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// The flags with which another process joins in.
    pub(super) fn flags(&self) -> String {
        let bootstrap = self.global.connection.bootstrap_servers();
        match self.global.topics.topic_prefix.as_str() {
            "" => format!("-b {bootstrap}"),
            prefix => format!("-b {bootstrap} --topic-prefix {prefix}"),
        }
    }
}

async fn existing(global: &GlobalArgs, layout: Layout) -> anyhow::Result<Broker> {
    let global = apart(global);
    let topics = global.topics.topics();
    let admin = TopicAdmin::new(&global.connection.client_config()?)?;
    let existing = admin.existing(&topics.all()).await?;
    let layout = Layout::beside(&existing, &topics, Some(layout.partitions));
    let steps = plan(catalogue(&topics, layout), &existing, None);
    let missing: Vec<_> = steps
        .iter()
        .filter(|step| !existing.contains_key(&step.spec.name))
        .map(|step| &step.spec)
        .collect();
    admin.create(&missing, -1).await?;
    Ok(Broker {
        global,
        partitions: layout.checkpoint,
        embedded: None,
    })
}

/// The same flags with names of the demo's own.
fn apart(global: &GlobalArgs) -> GlobalArgs {
    let mut global = global.clone();
    if global.topics.topic_prefix.is_empty() {
        PREFIX.clone_into(&mut global.topics.topic_prefix);
    }
    global
}

/// The broker that librdkafka has for its own tests: in memory, on this machine only. It
/// knows groups and idempotent producers; its transactions promise nothing.
fn embedded(global: &GlobalArgs, layout: Layout) -> anyhow::Result<Broker> {
    let cluster = MockCluster::new(1)?;
    for topic in catalogue(&global.topics.topics(), layout) {
        cluster.create_topic(&topic.name, topic.partitions, 1)?;
    }
    let mut global = global.clone();
    global.connection.bootstrap_servers = Some(cluster.bootstrap_servers());
    // It answers a fetch when the time is up, not when there is something to tell.
    let fetch_wait = ("fetch.wait.max.ms".to_owned(), "50".to_owned());
    global.connection.properties.insert(0, fetch_wait);
    Ok(Broker {
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
    fn on_a_kafka_of_others_all_names_are_the_demos_own() {
        for (flags, prefix) in [
            (["demo", "-b", "kafka:9092"].as_slice(), "demo-"),
            (&["demo", "--topic-prefix", "mine-"], "mine-"),
        ] {
            let flags = ["sundown"].iter().chain(flags);
            let global = apart(&Cli::parse_from(flags).global);
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
