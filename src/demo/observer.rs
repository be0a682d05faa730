//! Watches the demo's topics.

use std::time::Duration;

use anyhow::Context;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::scene::Scene;
use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::kafka::reader::reader_config;
use crate::kafka::topics::{TopicAdmin, require};
use crate::session::Subject;
use crate::wire::event::decode::decode;

/// Reads session events, terminal events and process reports, of whatever process.
pub(super) struct Observer {
    consumer: BaseConsumer,
    topics: Topics,
}

impl Observer {
    /// Watches everything that is written from now on.
    pub(super) async fn new(global: &GlobalArgs) -> anyhow::Result<Self> {
        let config = global.connection.client_config()?;
        let topics = global.topics.topics();
        let names: [&str; 3] = [
            &topics.session_logs,
            &topics.expired_sessions,
            &topics.processes,
        ];
        let admin = TopicAdmin::new(&config)?;
        let existing = require(&admin, &names).await?;
        let mut positions = TopicPartitionList::new();
        for (name, state) in existing {
            let offsets = admin.offsets(&name, state.partition_count()).await?;
            for (partition, offsets) in (0..).zip(offsets) {
                positions.add_partition_offset(&name, partition, Offset::Offset(offsets.end))?;
            }
        }
        let consumer: BaseConsumer = reader_config(&config, "sundown-demo-observer")
            .create()
            .context("cannot watch the topics")?;
        consumer.assign(&positions)?;
        Ok(Self { consumer, topics })
    }

    /// Takes in what is written within `time`, the first thing at least; lines about it.
    pub(super) fn watch(&self, time: Duration, scene: &mut Scene) -> Option<String> {
        match self.consumer.poll(time)? {
            Ok(message) => self.see(&message, scene),
            Err(error) => {
                tracing::debug!(%error, "the observer goes on");
                None
            }
        }
    }

    fn see(&self, message: &BorrowedMessage<'_>, scene: &mut Scene) -> Option<String> {
        let value = message.payload()?;
        let topic = message.topic();
        if topic == self.topics.session_logs {
            let decoded = decode(Some(value)).ok()?;
            let event = decoded.event();
            if let Subject::Session { id, .. } = event.subject {
                scene.event(id, event.kind);
            }
            None
        } else if topic == self.topics.expired_sessions {
            scene.ended(&serde_json::from_slice(value).ok()?)
        } else {
            scene.report(&serde_json::from_slice(value).ok()?)
        }
    }
}
