//! The metrics of the HTTP port.

use prometheus::{Error, IntCounterVec, Registry};

use crate::metrics::factory::MetricFactory;

/// The metrics of the HTTP port.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    events: IntCounterVec,
}

impl HttpMetrics {
    /// Registers the metrics in `registry`.
    ///
    /// # Errors
    /// If they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let register = MetricFactory(registry);
        Ok(Self {
            requests: register.counters(
                "sundown_ingest_http_requests_total",
                "Requests to POST /v1/events by the status of the answer.",
                "status",
            )?,
            events: register.counters(
                "sundown_ingest_http_events_total",
                "Events of acknowledged requests by the name of the token.",
                "token",
            )?,
        })
    }

    /// Counts an answer.
    pub fn answered(&self, status: u16) {
        self.requests
            .with_label_values(&[&status.to_string()])
            .inc();
    }

    /// Counts acknowledged events.
    pub fn written(&self, token: &str, events: usize) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        self.events.with_label_values(&[token]).inc_by(events);
    }
}
