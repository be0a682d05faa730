//! Observes the demo's topics.

use std::time::Duration;

use anyhow::Context;
use rdkafka::Offset;
use rdkafka::message::{BorrowedMessage, Message};

use super::narrator::Narrator;
use crate::kafka::Topics;
use crate::kafka::args::GlobalArgs;
use crate::kafka::topic_reader::{Polled, ReaderOptions, TopicReader};
use crate::kafka::topics::{TopicAdmin, require};
use crate::session::{Subject, Timestamp};
use crate::wire::event::decode::{DecodeLimits, decode};
use crate::wire::record::{SourceRecord, record_time};

/// Bounds one request to the brokers.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads session events, terminal events and process reports.
pub(super) struct Observer {
    reader: TopicReader,
    topics: Topics,
}

impl Observer {
    /// Observes the records that are appended from now on.
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
        let mut positions = Vec::new();
        for (name, state) in &existing {
            let offsets = admin.offsets(name, state.partition_count()).await?;
            for (partition, offsets) in (0..).zip(offsets) {
                positions.push((name.as_str(), partition, Offset::Offset(offsets.end)));
            }
        }
        let options = ReaderOptions {
            name: "sundown-demo-observer",
            request_timeout: REQUEST_TIMEOUT,
            properties: &[],
        };
        let reader = TopicReader::new(&config, &options).context("cannot observe the topics")?;
        reader.assign(positions)?;
        Ok(Self { reader, topics })
    }

    /// Applies the next record that is appended within `timeout` to `narrator`; returns the
    /// lines to print about it.
    pub(super) fn observe(&self, timeout: Duration, narrator: &mut Narrator) -> Option<String> {
        match self.reader.poll(timeout) {
            Ok(Some(Polled::Record(message))) => self.apply(&message, narrator),
            // The reader logs errors, and librdkafka retries.
            Ok(_) | Err(_) => None,
        }
    }

    fn apply(&self, message: &BorrowedMessage<'_>, narrator: &mut Narrator) -> Option<String> {
        let value = message.payload()?;
        let topic = message.topic();
        if topic == self.topics.session_logs {
            let time = record_time(SourceRecord::timestamp(message).0, Timestamp::MAX);
            let decoded = decode(Some(value), time, &DecodeLimits::default()).ok()?;
            let event = decoded.event();
            if let Subject::Session { id, .. } = event.subject {
                narrator.event(id, event.kind);
            }
            None
        } else if topic == self.topics.expired_sessions {
            narrator.ended(&serde_json::from_slice(value).ok()?)
        } else {
            narrator.report(&serde_json::from_slice(value).ok()?)
        }
    }
}
