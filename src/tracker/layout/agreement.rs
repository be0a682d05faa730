//! Agrees with the other trackers of an installation how sessions are distributed, before the first commit.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaResult;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::runtime::Handle;

use super::REQUEST_TIMEOUT;
use crate::kafka::topic_ids::TopicIds;
use crate::kafka::upstream::{PARTITION, UpstreamReader};
use crate::wire::layout::LayoutRecord;
use crate::wire::routing::Routing;

/// What an agreement takes.
pub(in crate::tracker) struct LayoutAgreement<'a> {
    /// Of clients that read.
    pub(in crate::tracker) config: &'a ClientConfig,
    pub(in crate::tracker) producer: &'a ClientConfig,
    /// The topic of watermarks.
    pub(in crate::tracker) watermarks: &'a str,
    /// The topic of session events.
    pub(in crate::tracker) log: &'a str,
}

impl LayoutAgreement<'_> {
    /// Returns the layout that the first tracker stated; states `own` if none has. Blocks outside async tasks.
    ///
    /// # Errors
    /// If the brokers do not respond.
    pub(super) fn agree(
        &self,
        upstream: &mut UpstreamReader,
        own: Routing,
    ) -> KafkaResult<Routing> {
        let ids = TopicIds::new(self.config)?.fetch([self.log], REQUEST_TIMEOUT)?;
        let [topic_id] = ids.map(|id| id.map(|id| id.to_string()));
        if let Some(agreed) = upstream.agreed_layout(topic_id.as_deref(), None)? {
            return Ok(agreed);
        }
        let record = LayoutRecord {
            routing: own,
            topic_id: topic_id.clone(),
        };
        let written = self.write(&record)?;
        // Another tracker may have been first.
        let agreed = upstream.agreed_layout(topic_id.as_deref(), Some(written))?;
        Ok(agreed.unwrap_or(own))
    }

    /// Writes the record once: a second copy would outlive the first in a compacted topic, and with it its
    /// place. Returns its offset.
    fn write(&self, record: &LayoutRecord) -> KafkaResult<i64> {
        let mut config = self.producer.clone();
        config.set("acks", "all").set("enable.idempotence", "true");
        let producer: FutureProducer = config.create()?;
        let (key, value) = (LayoutRecord::new_key(), record.encode());
        let record = FutureRecord::to(self.watermarks)
            .key(&key)
            .payload(&value)
            .partition(PARTITION);
        let delivery = Handle::current().block_on(producer.send(record, Duration::ZERO));
        delivery
            .map(|delivery| delivery.offset)
            .map_err(|(error, _)| error)
    }
}
