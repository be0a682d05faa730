//! Writes session events, and waits until Kafka has acknowledged them.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, TryStreamExt};
use rdkafka::error::KafkaResult;
use rdkafka::producer::FutureRecord;

use super::body::AcceptedEvent;
use super::problem::ApiProblem;
use crate::kafka::errors::WithHint;
use crate::kafka::event_writer::Target;
use crate::kafka::recreating_producer::RecreatingProducer;

/// How long an event may wait for room in the producer's queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Writes to the topic of session events.
pub struct HttpWriter {
    pub producer: RecreatingProducer,
    pub topic: String,
}

impl HttpWriter {
    /// Writes events, and returns once all of them are acknowledged.
    ///
    /// # Errors
    /// If one is not; others may have been written.
    pub async fn write(&self, events: &[AcceptedEvent<'_>]) -> Result<(), ApiProblem> {
        let sent: FuturesUnordered<_> = events.iter().map(|event| self.send(event)).collect();
        sent.try_collect::<()>().await.map_err(|error| {
            let hint = WithHint(&error);
            tracing::warn!(error = %hint, "events of an HTTP request were not acknowledged");
            let problem = "Kafka has not acknowledged all events; send them again, events that were written twice count once";
            ApiProblem::Unavailable(problem.to_owned())
        })
    }

    async fn send(&self, event: &AcceptedEvent<'_>) -> KafkaResult<()> {
        let mut record =
            FutureRecord::<[u8], [u8]>::to(&self.topic).payload(event.value.as_bytes());
        // A tracker forwards an event about several sessions to all partitions.
        if let Target::Key(key) = &event.target {
            record = record.key(key.as_bytes());
        }
        self.producer.send(record, QUEUE_TIMEOUT).await.map(drop)
    }
}
